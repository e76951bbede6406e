#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds what ships to what is said of it: the unit, the Debian package, the container file.

Usage: check.py --build BUILD_FOLDER [STEP...]       (steps: unit deb image)
       check.py --whole | --twice

`image` runs all steps of the container file but for its build stage, which is represented by what BUILD_FOLDER installs.
`--whole`: the image alone, its build stage included, which compiles the gateway. `--twice`: that, and again, by buildah where
it is installed, else the same way; the two roots must be the same byte by byte. `deb` and `image` need root, debootstrap
and Debian's mirror; where these are not to be had, they are skipped and say so; with `--whole` and `--twice` that is a
failure.
"""

import argparse
import asyncio
import contextlib
import functools
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import containerfile
import engine
import same

SOURCE = pathlib.Path(__file__).resolve().parents[2]
CACHE = SOURCE / "build" / "rootfs"
# What docs/operations.md says of the unit.
UNIT = ("Type=notify", "NotifyAccess=main", "WatchdogSec=20", "ExecReload=/bin/kill -HUP $MAINPID", "Restart=on-failure", "LimitNOFILE=1048576",
        "User=fieldgate", "ProtectSystem=strict", "StateDirectory=fieldgate", "StateDirectoryMode=0700",
        "ConfigurationDirectory=fieldgate", "ConfigurationDirectoryMode=0750", "SystemCallFilter=sched_setattr",
        "WantedBy=multi-user.target")
# systemd-analyze's exposure, in tenths: 0 is a box without openings.
EXPOSURE_MAX = 20


class Failure(Exception):
    pass


def claim(true, what: str) -> None:
    if not true:
        raise Failure(what)
    print(f"  ok: {what}", flush=True)


def run(*command, **options) -> subprocess.CompletedProcess:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise Failure(f"{command}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def why_not_chroot() -> str:
    if os.geteuid() != 0:
        return "this needs root"
    if shutil.which("debootstrap", path=os.environ["PATH"] + ":/usr/sbin") is None:
        return "debootstrap is not installed"
    probe = subprocess.run(["unshare", "--mount", "/bin/sh", "-ec", "mount -t tmpfs probe /mnt && mknod /mnt/null c 1 3"],
                           capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        return f"this root may not mount or make devices: {probe.stderr.strip()}"
    if (CACHE / "bookworm.tar").exists():
        return ""
    try:
        urllib.request.urlopen(containerfile.MIRROR + "/dists/bookworm/Release", timeout=20).close()
    except (urllib.error.URLError, OSError) as error:
        return f"Debian's mirror is not to be reached: {error}"
    return ""


def check_unit(build: pathlib.Path, work: pathlib.Path) -> None:
    root = work / "unit"
    run("cmake", "--install", build, "--prefix", "/usr", "--component", "gateway", env={**os.environ, "DESTDIR": str(root)})
    unit = root / "usr/lib/systemd/system/fieldgate.service"
    there = unit.read_text()
    missing = set(UNIT) - set(there.splitlines())
    claim(not missing, f"the unit is what is said of it: {', '.join(UNIT)}" + (f"; missing: {missing}" if missing else ""))
    # The programs that it names are looked for where they will be.
    text = there.replace("/usr/bin/fieldgate", str(root / "usr/bin/fieldgate"))
    probe = work / "fieldgate.service"
    probe.write_text(text)
    verified = run("systemd-analyze", "verify", "--man=no", probe)
    claim(not verified.stdout + verified.stderr, "systemd-analyze verify finds nothing: " + verified.stdout + verified.stderr)
    judged = run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager", probe)
    claim("sched_setattr is allowed" in judged.stdout, "threads may say that they wait for a core instead of taking it")
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", judged.stdout)
    claim(score and float(score[1]) * 10 <= EXPOSURE_MAX, f"systemd-analyze security: exposure {score and score[1]}, "
          f"at most {EXPOSURE_MAX / 10}")
    helps = subprocess.run([root / "usr/bin/fieldgate", "help"], capture_output=True, text=True, check=True).stdout
    page = subprocess.run(["zcat", root / "usr/share/man/man1/fieldgate.1.gz"], capture_output=True, text=True, check=True).stdout
    commands = containerfile_commands(helps)
    claim(commands and all(f'.SH "{name.upper()}"' in page.replace("\\-", "-") for name in commands),
          f"the manual page has all {len(commands)} commands")
    completed = run("bash", "-c", f"""
        source {root}/usr/share/bash-completion/completions/fieldgate
        COMP_WORDS=({root}/usr/bin/fieldgate dr); COMP_CWORD=1; _fieldgate; echo "${{COMPREPLY[*]}}"
        COMP_WORDS=({root}/usr/bin/fieldgate drain --tim); COMP_CWORD=2; _fieldgate; echo "${{COMPREPLY[*]}}"
        COMP_WORDS=({root}/usr/bin/fieldgate device cre); COMP_CWORD=2; _fieldgate; echo "${{COMPREPLY[*]}}"
        """).stdout.split("\n")[:3]
    claim(completed == ["drain", "--timeout", "create credential"], f"bash completes commands and options: {completed}")


def containerfile_commands(helps: str) -> list[str]:
    found = re.search(r"^Subcommands:\n((?:  .*\n?)+)", helps, re.MULTILINE)
    return re.findall(r"^  ([a-z][a-z-]*)", found[1], re.MULTILINE) if found else []


def check_deb(build: pathlib.Path, work: pathlib.Path) -> None:
    run("cpack", "--config", build / "CPackConfig.cmake", "-B", work / "deb", "-G", "DEB")
    package = next((work / "deb").glob("*.deb"))
    print(f"  {package.name}: {package.stat().st_size / 1e6:.1f} MB", flush=True)
    if shutil.which("lintian"):
        found = subprocess.run(["lintian", "--allow-root", "--fail-on", "error", package], capture_output=True, text=True, check=False)
        print("  " + "\n  ".join(found.stdout.splitlines()), flush=True)
        claim(found.returncode == 0, "lintian finds no error")
    else:
        print("  skipped: lintian is not installed", flush=True)
    root = work / "bare"
    containerfile.bootstrap(root, CACHE)
    shutil.copy(package, root / "root" / package.name)
    containerfile.chroot(root, ["/bin/sh", "-ec", f"""
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install /root/{package.name} >/dev/null
        fieldgate version
        fieldgate-sim --help >/dev/null
        getent passwd fieldgate
        test "$(stat -c '%a %U' /var/lib/fieldgate)" = "700 fieldgate"
        test "$(stat -c '%a %U %G' /etc/fieldgate)" = "750 root fieldgate"
        fieldgate check-config --config /usr/share/doc/fieldgate/examples/production.yaml && exit 9
        touch /var/lib/fieldgate/kept
        enabled=/etc/systemd/system/multi-user.target.wants/fieldgate.service
        test ! -L $enabled
        mkdir -p ${{enabled%/*}}
        ln -s /lib/systemd/system/fieldgate.service $enabled  # as `systemctl enable` does, which is not here
        apt-get -qq -y --reinstall install /root/{package.name} >/dev/null
        test -L $enabled
        apt-get -qq -y remove fieldgate >/dev/null
        test ! -e /usr/bin/fieldgate && test ! -e /lib/systemd/system/fieldgate.service
        test ! -L $enabled
        test -e /var/lib/fieldgate/kept
        apt-get -qq -y purge fieldgate >/dev/null
        test ! -e /var/lib/fieldgate && test ! -e /etc/fieldgate
        test -z "$(find /etc/systemd /var/lib/systemd -name '*fieldgate*')"
        """], {})
    claim(True, "it installs on a bare Debian 12, runs, stays enabled when it is replaced, goes away again, disabled, and takes its state "
          "only when purged")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def certificates(into: pathlib.Path) -> None:
    into.mkdir(parents=True)
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", into / "key.pem", "-out", into / "cert.pem")
    for file in into.iterdir():
        file.chmod(0o644)


async def round_trip(port: int, ca: pathlib.Path, token: str, generated: pathlib.Path) -> None:
    """One device: Hello, Welcome, telemetry, Ack."""
    run("protoc", f"--proto_path={SOURCE}/proto", f"--python_out={generated}", "fieldgate/v1/device.proto")
    sys.path.insert(0, str(generated))
    import websockets  # noqa: PLC0415
    from fieldgate.v1 import device_pb2 as pb  # noqa: PLC0415
    async with websockets.connect(f"wss://localhost:{port}/v1/connect", ssl=ssl.create_default_context(cafile=ca),
                                  subprotocols=["fieldgate.v1"], compression=None, open_timeout=60,
                                  extra_headers={"Authorization": f"Bearer {token}"}) as device:
        await device.send(pb.DeviceFrame(hello=pb.Hello(device_id="pump-1", stream_id=1, ack_stage=pb.ACK_STAGE_ACCEPTED))
                          .SerializeToString())
        welcome = pb.GatewayFrame.FromString(await asyncio.wait_for(device.recv(), 60))
        claim(welcome.HasField("welcome"), "a device is welcomed over TLS")
        frame = pb.DeviceFrame(seq=1)
        frame.telemetry.samples.add(unix_ms=int(time.time() * 1000)).metrics.add(name="t", double_value=20.5)
        await device.send(frame.SerializeToString())
        ack = pb.GatewayFrame.FromString(await asyncio.wait_for(device.recv(), 60))
        claim(ack.ack.through == 1, "what it sends is acknowledged")


def installed(build: pathlib.Path, work: pathlib.Path) -> pathlib.Path:
    """What the container file's build stage comes to, from a build that is there."""
    root = work / "built"
    run("cmake", "--install", build, "--prefix", "/usr", "--component", "gateway", "--strip",
        env={**os.environ, "DESTDIR": str(root / "out")})
    (root / "out/packages").write_text(run(SOURCE / "config/package/runtime-packages", root / "out/usr/bin/fieldgate").stdout)
    return root


def say(text: str) -> None:
    print("  " + text, flush=True)


def check_image(build: pathlib.Path, work: pathlib.Path) -> None:
    builder = containerfile.Builder(SOURCE, work / "image", CACHE, {})
    try_image(builder.build({"build": installed(build, work)}, say), work)


def check_whole(work: pathlib.Path, twice: bool) -> None:
    context = work / "context"  # what is built twice must not change meanwhile
    containerfile.copy_context(SOURCE, context)
    image = containerfile.Builder(context, work / "image", CACHE, {}).build({}, say)
    if twice:
        check_same(image.root, context, work)
    try_image(image, work)


def check_same(root: pathlib.Path, context: pathlib.Path, work: pathlib.Path) -> None:
    reason = engine.why_not()
    if reason:
        print(f"  a second time without an engine: {reason}", flush=True)
        again = containerfile.Builder(context, work / "again", CACHE, {}).build({}, say).root
        count, found = same.differences(root, again)
    else:
        print("  a second time, with buildah", flush=True)
        with contextlib.closing(engine.Engine(work / "engine")) as builder:
            builder.take_base(CACHE / "bookworm.tar")
            count, found = same.differences(root, builder.build(context))
    claim(not found, f"two builds are the same in all {count} files, folders and links\n" + "\n".join(found[:50]))


def try_image(image: containerfile.Image, work: pathlib.Path) -> None:
    size = int(run("du", "-sxb", image.root).stdout.split()[0])
    print(f"  root filesystem: {size / 1e6:.0f} MB, of it fieldgate {(image.root / 'usr/bin/fieldgate').stat().st_size / 1e6:.1f} MB",
          flush=True)
    claim(re.fullmatch(r"[1-9]\d+:[1-9]\d+", image.user), f"it runs as a number that is not root's: {image.user}")
    claim(image.labels.get("org.opencontainers.image.version"), "it is labelled")
    claim(not list(image.root.glob("usr/bin/*g++*")), "no compiler is in it")
    port, admin = free_port(), free_port()
    certificates(image.root / "etc/fieldgate/tls")
    token = "token-of-pump-1"
    digest = run("sha256sum", input=token).stdout.split()[0]
    (image.root / "etc/fieldgate/tokens").write_text(f"pump-1 sha256:{digest}\n")
    (image.root / "etc/fieldgate/fieldgate.yaml").write_text(
        f"node: {{name: image, drain_period: 2s}}\nlog: {{format: json}}\ndevices: {{listen: '127.0.0.1:{port}', tls: {{certificate_file: "
        f"/etc/fieldgate/tls/cert.pem, key_file: /etc/fieldgate/tls/key.pem}}}}\ntokens: {{file: /etc/fieldgate/tokens}}\n"
        f"store: {{kind: none}}\napi: {{enabled: false}}\nadmin: {{listen: '127.0.0.1:{admin}'}}\n")
    user, group = image.user.split(":")
    work.chmod(0o711)  # on the way to the root, for a user that is not root
    # As an engine does with --read-only --tmpfs /var/lib/fieldgate.
    enter = ('mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && mount --bind /dev/null "$0/dev/null" && '
             'mount -t tmpfs -o "uid=$1,gid=$2,mode=0700" state "$0/var/lib/fieldgate" && mount -o remount,bind,ro "$0" && '
             'u=$1 && g=$2 && shift 2 && '
             'exec setpriv --no-new-privs chroot --userspec="$u:$g" --groups="" "$0" "$@"')
    (image.root / "dev/null").touch()
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **image.environment}
    process = subprocess.Popen(["unshare", "--mount", "/bin/sh", "-ec", enter, image.root, user, group,
                                *image.entrypoint, *image.command], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if '"event":"ready"' in line.replace(" ", ""):
                break
        else:
            raise Failure("it ended: " + "".join(said))
        claim(process.poll() is None, "it starts on a read-only root")
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        claim(re.search(rf"^Uid:\t{user}\t{user}\t", status, re.MULTILINE), f"as user {user}")
        asyncio.run(round_trip(port, image.root / "etc/fieldgate/tls/cert.pem", token, work))
        inside = ["nsenter", "--target", str(process.pid), "--mount", "chroot", "--userspec", image.user, image.root]
        claim(subprocess.run([*inside, *image.healthcheck], env=environment, check=False, stdout=subprocess.DEVNULL).returncode == 0,
              "its health check passes")
        claim(subprocess.run([*inside, "/bin/sh", "-c", "! touch /usr/x 2>/dev/null"], env=environment, check=False).returncode == 0,
              "nothing of it can be written")
        claim(subprocess.run([*inside, *image.entrypoint, "drain"], env=environment, check=False,
                             stdout=subprocess.DEVNULL).returncode == 0, "fieldgate drain works in it")
        process.terminate()
        process.stderr.read()
        claim(process.wait(60) == 0, "it ends with status 0 on SIGTERM")
    finally:
        if process.poll() is None:
            process.kill()


STEPS = {"unit": check_unit, "deb": check_deb, "image": check_image}


def main() -> int:
    parser = argparse.ArgumentParser()
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--build", type=pathlib.Path)
    how.add_argument("--whole", action="store_true")
    how.add_argument("--twice", action="store_true")
    parser.add_argument("steps", nargs="*")
    options = parser.parse_args()
    steps = {name: functools.partial(step, options.build.resolve()) for name, step in STEPS.items()} if options.build else {
        "image": functools.partial(check_whole, twice=options.twice)}
    unknown = set(options.steps) - set(steps)
    if unknown:
        parser.error(f"no step {', '.join(unknown)}; there are: {' '.join(steps)}")
    failed = False
    for name in options.steps or steps:
        reason = why_not_chroot() if name != "unit" else "" if shutil.which("systemd-analyze") else "systemd is not installed"
        if reason:
            print(f"package: {name}: {'skipped' if options.build else 'FAILED'}: {reason}", flush=True)
            failed = failed or not options.build  # somebody asked for this very thing
            continue
        print(f"package: {name}", flush=True)
        with tempfile.TemporaryDirectory(prefix="fieldgate-package-") as work:
            try:
                steps[name](pathlib.Path(work))
            except (Failure, containerfile.Problem) as failure:
                failed = True
                print(f"package: {name}: FAILED: {failure}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
