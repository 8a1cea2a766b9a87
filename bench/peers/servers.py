"""The servers that are held against each other: how each is built, started on a core and ended.

All of a peer's own lie in this directory, all that is built in `.cache/peers`. Only processes that
were started here are ended, by their own handle.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests/clients"))

import gateway as gateways

CACHE = gateways.CACHE / "peers"

# Longest build; the first fetches what it needs.
BUILD_S = 1200

# The newest the Go module proxy gives out: it answers 403 for every version from 6 on.
CENTRIFUGO = "github.com/centrifugal/centrifugo/v5"


class Unavailable(Exception):
    """What cannot be measured here, and why."""


class Server:
    """One that runs: its `pid`, the `address` clients connect to, and where to `publish`."""

    # By what is asked of it: where a client goes, and how it subscribes.
    paths = {"echo": "/echo", "fanout": "/sub", "centrifuge": "/connection/websocket"}
    protocols = {"fanout": "none", "centrifuge": "centrifuge"}

    def target(self, kind):
        """What tells the load generator to drive it."""
        arguments = ["--url", f"ws://{self.address}{self.paths[kind]}", "--server-pid", self.pid]
        if kind in self.protocols:
            arguments += ["--publish", self.publish, "--protocol", self.protocols[kind]]
        return arguments


class Tidegate(Server):
    """The gateway, with one shard unless it is told, without history: what is measured is
    delivery."""

    paths = Server.paths | {"fanout": "/raw?channel=bench"}
    protocols = Server.protocols | {"fanout": "raw"}

    def __init__(self, cpu, *settings, shards=1):
        settings = ["channel.recovery=false", "channel.history_size=0", *settings]
        arguments = [part for setting in settings for part in ("--set", setting)]
        self.gateway = gateways.Gateway(
            "--dev", "--shards", str(shards), *arguments, wrapper=["taskset", "-c", cpu]
        ).wait_until_serving()
        self.pid = self.gateway.pid
        self.address = self.gateway.clients
        self.publish = f"http://{self.gateway.admin}/api/publish"

    def counted(self):
        """Turns so far, and messages: those received, and those delivered to subscribers."""
        metrics = self.gateway.metrics()
        names = ["turns", "messages_received", "deliveries"]
        turns, *messages = (metrics.total(f"tidegate_{name}_total") for name in names)
        return turns, sum(messages)

    def stop(self):
        self.gateway.stop()


class Peer(Server):
    """Another server: prints its port, and ends by SIGTERM or with its standard input."""

    def __init__(self, cpu, command, environment=None, paths=None, publish="/publish", port=None):
        """With `port` it prints none, and is there when that can be connected to."""
        self.paths = Server.paths | (paths or {})
        self.process = subprocess.Popen(
            ["taskset", "-c", cpu, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | (environment or {}),
        )
        self.pid = self.process.pid
        self.said = gateways.Lines(self.process.stdout)
        try:
            port = self.wait_for_port(port) if port else self.printed_port()
        except BaseException:
            self.stop()
            raise
        self.address = f"127.0.0.1:{port}"
        self.publish = f"http://{self.address}{publish}"

    def printed_port(self):
        """The end of a line, or of the URL on it."""
        lines = self.said.wait_for(r"(^|:)\d+/?$")
        if not lines:
            raise Unavailable(f"{self.process.args[3]} ended before it served")
        return re.search(r"(\d+)/?$", lines[0])[1]

    def wait_for_port(self, port):
        deadline = time.monotonic() + gateways.PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return port
            except OSError:
                time.sleep(0.05)
        raise Unavailable(f"{self.process.args[3]} does not listen on {port}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(gateways.PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()


def build(name):
    """What starts a server on a core, and its version. Raises Unavailable if it cannot be built."""
    if name == "tidegate":
        return Tidegate, told(gateways.binary(), "--version").removeprefix("tidegate ")
    CACHE.mkdir(parents=True, exist_ok=True)
    command, version, more = BUILDS[name]()
    return lambda cpu: Peer(cpu, [str(part) for part in command], **more), version


def built_go(folder, module, **paths):
    program, version = go_program(folder, ".", module)
    return [program], version, {"paths": paths}


def go_program(folder, package, module):
    """A package of a module of ours, with the version of the module it is about."""
    need("go", "Go 1.21 or newer, which fetches the toolchain the module asks for")
    program = CACHE / folder
    run("go", "build", "-o", program, package, cwd=HERE / folder)
    return program, go_version(program, module)


def go_version(program, module):
    """Of a module that a program is made of, and of the compiler."""
    built = told("go", "version", "-m", program)
    version = re.search(rf"^\s(?:dep|mod)\s{re.escape(module)}\s(\S+)", built, re.M)[1]
    return f"{version}, {built.split()[1]}"


def built_rust(binary, crate):
    need("cargo", "Rust")
    manifest = HERE / "rust/Cargo.toml"
    target = ["--target-dir", CACHE / "rust"]
    run("cargo", "build", "--locked", "--release", "--quiet", "--manifest-path", manifest, *target)
    lock = manifest.with_name("Cargo.lock").read_text()
    version = re.search(rf'name = "{crate}"\nversion = "(.+)"', lock)[1]
    rustc = told("rustc", "--version").split()[1]
    return [CACHE / "rust/release" / binary], f"{version}, rustc {rustc}", {}


def built_library():
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    run("cargo", "build", "--locked", "--release", "--quiet", "--example", "echo")
    version = told(gateways.binary(), "--version").removeprefix("tidegate ")
    return [target / "release/examples/echo", "127.0.0.1:0"], version, {}


def node_modules():
    """Installs the packages of npm if they are not those of the lock file."""
    need("node", "Node.js 18 or newer")
    need("npm", "npm")
    there, lock = CACHE / "node", HERE / "node/package-lock.json"
    installed = there / "installed.json"
    if not (installed.exists() and installed.read_bytes() == lock.read_bytes()):
        there.mkdir(exist_ok=True)
        for file in (lock, HERE / "node/package.json"):
            shutil.copy(file, there)
        # Bun's own script would fetch what npm has brought already.
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=there)
        shutil.copy(lock, installed)
    return there / "node_modules"


def built_ws():
    modules = node_modules()
    version = re.search(r'"version": "(.+)"', (modules / "ws/package.json").read_text())[1]
    command = ["node", ROOT / "tests/clients/node/servers.mjs"]
    found = {"environment": {"NODE_PATH": str(modules)}}
    return command, f"{version}, node {told('node', '--version')}", found


def built_bun():
    # One for newer and one for any processor; the first that runs.
    for bun in sorted(node_modules().glob("@oven/bun-linux-*/bin/bun"), key=lambda p: len(str(p))):
        try:
            return [bun, HERE / "node/bun.mjs"], told(bun, "--version"), {}
        except Unavailable:
            continue
    raise Unavailable("npm brought no bun that runs on this processor")


def built_centrifugo():
    program, version = go_program("centrifugo", CENTRIFUGO, CENTRIFUGO)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    more = {
        "environment": {"CENTRIFUGO_PORT": str(port)},
        "publish": "/api/publish",
        "port": port,
    }
    return [program, "--config", HERE / "centrifugo/config.json"], version, more


GORILLA = ("gorilla", "github.com/gorilla/websocket")

BUILDS = {
    "gorilla": lambda: built_go(*GORILLA),
    "gorilla-direct": lambda: built_go(*GORILLA, fanout="/direct"),
    "centrifuge": lambda: built_go("centrifuge", "github.com/centrifugal/centrifuge"),
    "centrifugo": built_centrifugo,
    "bun": built_bun,
    "ws": built_ws,
    "fastwebsockets": lambda: built_rust("fastwebsockets", "fastwebsockets"),
    "tungstenite": lambda: built_rust("tungstenite", "tokio-tungstenite"),
    "library": built_library,
}


def need(program, what):
    if shutil.which(program) is None:
        raise Unavailable(f"{program} is missing: install {what}")


def run(*command, cwd=ROOT, environment=None):
    """Runs a step of a build; what it said goes into the complaint if it fails."""
    try:
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=True,
        ).stdout
    except subprocess.CalledProcessError as error:
        # What failed matters, not from which mirror it was to come.
        said = re.sub(r"\S*https?://\S+", "…", " ".join((error.stderr or error.stdout).split()))
        step = " ".join(Path(part).name if part[0] == "/" else part for part in error.cmd)
        raise Unavailable(f"`{step}`: {said[-300:]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(str(error)) from None


def told(*command):
    """The one line a program says of itself."""
    return run(*command).strip()
