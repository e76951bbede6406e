// SPDX-License-Identifier: Apache-2.0
//
// Data that a page shows: loaded, reloaded every so often while somebody looks, and never two requests at once.

import { redraw } from "./view.js";

const AWAY = [0, 503];  // no answer, or none now

export class Loader {
  // `fetcher(signal)` gives the data. `every_ms`: 0 for once; again, though, where the gateway or its store was away.
  constructor(fetcher, every_ms = 0) {
    this.fetcher = fetcher;
    this.every_ms = every_ms;
    this.data = null;
    this.error = null;
    this.running = null;
    this.again = false;
    this.stopped = false;
    this.load = this.load.bind(this);
    this.onVisible = () => !document.hidden && this.pace() && this.load();
    document.addEventListener("visibilitychange", this.onVisible);
    this.load();
  }

  // Now; while an answer is on its way, once more after it.
  load() {
    if (this.stopped) return Promise.resolve();
    clearTimeout(this.timer);
    if (this.running) this.again = true;
    else this.running = this.run();
    return this.running;
  }

  async run() {
    const abort = (this.abort = new AbortController());
    do {
      this.again = false;
      try {
        const data = await this.fetcher(abort.signal);
        if (abort.signal.aborted) return;
        this.data = data;
        this.error = null;
      } catch (error) {
        if (abort.signal.aborted) return;
        this.error = error;
      }
      redraw();
    } while (this.again);
    this.running = null;
    const wait = this.pace();
    if (wait && !document.hidden) this.timer = setTimeout(this.load, wait);
  }

  // Until the next load; 0: there is none.
  pace() {
    if (!this.error || !(this.every_ms || AWAY.includes(this.error.status))) return this.every_ms;
    return Math.max(this.every_ms, 1000 * (this.error.retryAfter || 3));
  }

  // Another question: what was there is of another kind.
  restart(keep = false) {
    if (!keep) this.data = null;
    this.error = null;
    this.abort?.abort();
    this.running = null;
    this.load();
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.abort?.abort();
    document.removeEventListener("visibilitychange", this.onVisible);
  }
}
