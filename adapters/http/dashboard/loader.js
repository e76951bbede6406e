// SPDX-License-Identifier: Apache-2.0
//
// Data that a page shows: loaded, reloaded every so often while somebody looks, and never two requests at once.

import { redraw } from "./view.js";

export class Loader {
  // `fetcher(signal)` gives the data. `every_ms`: 0 for once.
  constructor(fetcher, every_ms = 0) {
    this.fetcher = fetcher;
    this.every_ms = every_ms;
    this.data = null;
    this.error = null;
    this.busy = false;
    this.stopped = false;
    this.load = this.load.bind(this);
    this.onVisible = () => !document.hidden && this.every_ms && this.load();
    document.addEventListener("visibilitychange", this.onVisible);
    this.load();
  }

  async load() {
    if (this.stopped) return;
    clearTimeout(this.timer);
    this.abort?.abort();
    const abort = (this.abort = new AbortController());
    this.busy = true;
    try {
      const data = await this.fetcher(abort.signal);
      if (abort.signal.aborted) return;
      this.data = data;
      this.error = null;
    } catch (error) {
      if (abort.signal.aborted) return;
      this.error = error;
    }
    this.busy = false;
    if (this.every_ms && !document.hidden && !this.stopped) {
      const wait = this.error ? Math.max(this.every_ms, 1000 * (this.error.retryAfter || 3)) : this.every_ms;
      this.timer = setTimeout(this.load, wait);
    }
    redraw();
  }

  // Another question: what was there is of another kind.
  restart(keep = false) {
    if (!keep) this.data = null;
    this.error = null;
    this.load();
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.abort?.abort();
    document.removeEventListener("visibilitychange", this.onVisible);
  }
}
