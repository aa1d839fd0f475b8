"""
Consistent pseudonyms, so that a report can be shared: same name, same pseudonym; numbers and structure untouched.

The verdict must be the same before and after, so what it depends on stays: the shape of a cgroup path (slices, runtime
prefixes, QoS classes: all that :func:`~oomsight.naming.cgroup_path.describe` reads except names and ids) and the names
of well-known programs (:data:`PUBLIC_NAMES`). ``java`` or ``postgres`` says how a process uses memory and nothing about
whose it is; ``acme-billing`` says the opposite. Numbers (pids, sizes, uids and VM or job numbers in cgroup names) are
no names and stay; a number is replaced where it stands for a user name or a host, and where it only tells one scope
from another (a login session, a started application), which tells two reports of one machine.

Pseudonyms are keyed digests: nobody can test a guess without the key; reports made with one key can be compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2s
from typing import ClassVar, Final

from oomsight._lazy import lazy
from oomsight.naming.cgroup_layouts import ELIDED, SECRET
from oomsight.naming.cgroup_path import Step, split, unescape, walk
from oomsight.naming.marked import Kind, map_names, mark


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


PUBLIC_NAMES: Final = _set(
    """
    java javac node nodejs deno bun python ruby perl php php-fpm php-cgi beam.smp dotnet mono lua R julia gunicorn uwsgi
    celery puma sidekiq unicorn postgres postgresql mysqld mysql mariadbd mariadb mongod mongos redis redis-server
    memcached elasticsearch opensearch clickhouse cassandra kafka zookeeper rabbitmq-server influxd etcd prometheus
    grafana loki nginx apache2 httpd haproxy envoy traefik caddy varnishd squid named dnsmasq coredns clamd slapd smbd
    nfsd exim4 postfix chrome chromium firefox electron code gnome-shell Xorg Xwayland kwin_wayland plasmashell
    cc1 cc1plus ld lld clang gcc rustc cargo make ninja bazel mvn gradle npm yarn webpack tsc git
    sh bash dash zsh fish ash busybox tmux screen ssh sshd sudo su cron crond rsync tar gzip xz zstd dd cp find grep
    sort awk sed cat tail stress stress-ng memhog apt apt-get dpkg dnf yum rpm pip nix-build snapd flatpak
    qemu qemu-kvm qemu-system-x86 kvm libvirtd virtqemud firecracker containerd containerd-shim docker dockerd runc crun
    conmon podman crio kubelet kube-apiserver kube-proxy kube-controller kube-scheduler k3s k3s-server k3s-agent pause
    tini dumb-init slurmd slurmstepd nomad lxc-start lxcfs lxd incusd pvedaemon pvestatd pveproxy
    systemd init (sd-pam) systemd-journal systemd-journald systemd-udevd systemd-logind systemd-resolve
    systemd-resolved systemd-network systemd-networkd systemd-oomd systemd-timesyn systemd-timesyncd earlyoom nohang
    oomd dbus dbus-daemon dbus-broker rsyslog rsyslogd auditd agetty getty login polkitd NetworkManager udisksd chronyd
    ntpd irqbalance multipathd tuned firewalld node_exporter node-exporter cadvisor fluentd fluent-bit filebeat telegraf
    collectd netdata zabbix_agentd snmpd puppet salt-minion osqueryd falco root nobody localhost
    lmkd system_server zygote zygote64 surfaceflinger kthreadd khugepaged oom_reaper swapper
    """
) | {"Web Content", "Isolated Web Co", "WebExtensions", "gitlab-runner", "actions.runner", "Runner.Worker"}
"""Programs (comm, cut to 15 characters where longer, and unit names) that are the same everywhere: kept."""

_PUBLIC_SHAPE: Final = lazy(
    r"(?:python|php|php-fpm|perl|ruby|lua|clang|gcc|qemu-system-)[\d.]*[a-z]?"
    r"|(?:kworker|ksoftirqd|migration|cpuhp|irq|jbd2|rcu\w*)/.*|(?:kswapd|kcompactd|scsi_eh_|loop|nvme)\d+",
    re.ASCII | re.DOTALL,
)

GRAMMAR: Final = _set(
    """
    Out out of memory Memory cgroup Killed Killing Kill killed process Process score or sacrifice child invoked
    oom-killer oom-kill oom gfp_mask order oom_score_adj oom_adj Node node DMA DMA32 Normal Movable HighMem free min low
    high active_anon inactive_anon active_file inactive_file unevictable isolated present managed mlocked bounce cache
    rss swap usage limit failcnt stats for kernel pages page RAM reserved total Total Free Tasks state name pid uid tgid
    total_vm nr_ptes swapents pgtables_bytes constraint nodemask cpuset mems_allowed global_oom task task_memcg
    oom_memcg total-vm anon-rss file-rss shmem-rss UID pgtables kB KB CPU PID Comm Tainted Not tainted Hardware Call
    Trace Mem-Info reaped now Task in as a result null user daemon slab the and to is
    """
)
"""Words of the kernel's own report: a process called like one keeps its name, or the report would not parse."""

_PREFIX: Final = {Kind.COMM: "comm", Kind.CGROUP: "name", Kind.OWNER: "name", Kind.USER: "user", Kind.HOST: "host",
                  Kind.FILE: "file", Kind.ID: "id"}  # fmt: skip
_SERIAL: Final = lazy(r"c?\d+(?:-i\d+)?", re.ASCII)
_SERIAL_DIGITS: Final = 6  # as few as no document has sessions for
_DECIMAL: Final = "0123456789"
_NUMBER: Final = lazy(r"\d{1,11}", re.ASCII)
_HEX_ID: Final = lazy(r"[0-9a-f](?:[-_]?[0-9a-f])*", re.ASCII)
_LONG_HEX: Final = lazy(r"[0-9a-f]{12,64}|[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}")
_YARN_ID: Final = lazy(r"container_[e\d_]+", re.ASCII)  # numbers only
_CUT: Final = lazy(r"(?:…|\.{2,3})$")
_PUBLIC_FILES: Final = _set(
    "var log proc sys dev etc usr lib run tmp home root mnt srv opt fs cgroup memory journal kern.log messages syslog "
    "dmesg kmsg debug crash <stdin> - . .."
)
_EXTENSION: Final = lazy(r"(?:\.(?:log|txt|json|ndjson|gz|xz|zst|bz2|journal|md|html|\d{1,3}))+$", re.ASCII)

_HEX: Final = "0123456789abcdef"
_BASE32: Final = "abcdefghijklmnopqrstuvwxyz234567"
_TOKEN_CHARS: Final = 6  # 30 bits: readable, fits a comm of 15 characters; longer only when two names would share it


def is_public(text: str) -> bool:
    """Return whether a process or unit name is kept: known program, kernel thread, word of the report."""
    return text in PUBLIC_NAMES or text in GRAMMAR or _PUBLIC_SHAPE.fullmatch(text) is not None


class Pseudonyms:
    """
    Pseudonyms of one document.

    The same key gives the same pseudonym in every document, except that of two names whose pseudonyms would be equal
    the later one in the document gets a longer one: within a document no two names share one.
    """

    def __init__(self, key: bytes) -> None:
        """*key*: any non-empty secret; keep it where pseudonyms must stay comparable, drop it where they must not."""
        if not key:
            raise ValueError("pseudonyms without a key can be undone by guessing names")
        self._key = key if len(key) <= blake2s.MAX_KEY_SIZE else blake2s(key).digest()
        self._owner_of: dict[str, str] = {}  # token or id digits -> the text it stands for

    def name(self, text: str, kind: Kind) -> str:
        """Return the pseudonym of *text*, or *text* itself where it is kept (see the module)."""
        match kind:
            case Kind.CGROUP | Kind.OWNER:
                return self._path(text)
            case Kind.ID:
                return self._id(text)
            case Kind.SERIAL:
                return self._token(text)
            case Kind.FILE:
                return "/".join(map(self._file_part, text.split("/")))
            case Kind.USER | Kind.HOST:
                return text if text in {"", "0"} or is_public(text) else self._word(text, kind)
            case Kind.COMM:
                return self._plain(text, kind)

    def redact_marked(self, text: str) -> str:
        """Return marked *text* with every name replaced; the marks stay."""
        return map_names(text, lambda name, kind: mark(self.name(name, kind), kind))

    def redact_text(self, raw: str, names: Mapping[str, Kind]) -> str:
        """
        Return *raw* log text with every known name replaced, longest first, also where the kernel log escaped it.

        A name counts only where it stands alone: not inside a longer word, nor as a key (``rss:12kB``, ``order=0``).
        Cgroup paths whose descendants occur in the text should be given along with them.
        """
        replacement: dict[str, str] = {}
        patterns: dict[str, str] = {}
        for name, kind in names.items():
            pseudonym = self.name(name, kind)
            if pseudonym != name:
                for spelling in (_kmsg_escaped(name), name):
                    replacement[spelling] = pseudonym
                    patterns[spelling] = _bounded(spelling, kind)
        if not replacement:
            return raw
        longest_first = "|".join(patterns[spelling] for spelling in sorted(patterns, key=len, reverse=True))
        return re.sub(longest_first, lambda found: replacement[found[0]], raw)

    # ---- one kind of text each

    def _plain(self, text: str, kind: Kind) -> str:
        if not text or is_public(text) or _NUMBER.fullmatch(text):
            return text
        return self._id(text) if _LONG_HEX.fullmatch(text) else self._word(text, kind)

    def _word(self, text: str, kind: Kind) -> str:
        # The token depends on the text alone: a unit and a process of the same name stay recognisable as such.
        stream = self._stream(text, "word", _BASE32, 50)
        for length in range(_TOKEN_CHARS, len(stream) + 1):
            if self._owner_of.setdefault(stream[:length], text) == text:
                return f"{_PREFIX[kind]}-{stream[:length]}"
        raise AssertionError("250 bits collided")

    def _id(self, text: str) -> str:
        """Replace the digits of an id, keeping its shape, so that a short form (8 or 12 digits) stays its prefix."""
        cut = _CUT.search(text)
        body = text[: cut.start()] if cut else text
        if not body or _YARN_ID.fullmatch(text) or (text[0] == "<" and text[-1] == ">"):
            return text
        if _HEX_ID.fullmatch(body):
            alphabet = _HEX
        elif re.fullmatch("[a-z0-9]{20,64}", body):
            alphabet = _BASE32
        else:
            return self._word(text, Kind.ID)
        digits = body.replace("-", "").replace("_", "")
        fresh = self._digits(digits, alphabet)
        salt = 0
        while self._owner_of.setdefault(fresh, digits) != digits:
            salt += 1
            fresh = self._stream(digits, f"id {salt}", alphabet, len(digits))
        source = iter(fresh)
        return "".join(char if char in "-_" else next(source) for char in body) + text[len(body) :]

    def _token(self, text: str) -> str:
        """Replace what tells one scope from others: an id, or each of the numbers it is made of."""
        return re.sub(r"\d+", lambda m: self._serial(m[0]), text) if _SERIAL.fullmatch(text) else self._id(text)

    def _serial(self, digits: str) -> str:
        salt, length = 0, max(len(digits), _SERIAL_DIGITS)
        while True:
            fresh = self._stream(digits, f"serial {salt}", _DECIMAL, length)
            if fresh[0] != "0" and self._owner_of.setdefault(f"serial {fresh}", digits) == digits:
                return fresh
            salt += 1

    def _digits(self, digits: str, alphabet: str) -> str:
        out = ""
        for end in (8, 12, len(digits)):
            if len(out) < end <= len(digits):
                out += self._stream(digits[:end], "id", alphabet, end)[len(out) :]
        return out

    def _path(self, text: str) -> str:
        prefix, components, suffix = split(text)
        steps = walk(components)
        return prefix + "/".join(self._component(next(steps)) if part else "" for part in components) + suffix

    def _component(self, step: Step) -> str:
        text, _, match = step
        if match is None:
            return text if text in ELIDED else self._named(text)
        out, position = "", 0
        for group in match.re.groupindex:  # in the order of the pattern; groups do not overlap
            start, end = match.span(group)
            if group in SECRET and start >= 0:
                out += text[position:start] + self._HIDE.get(group, Pseudonyms._named)(self, match[group])
                position = end
        return out + text[position:]

    def _named(self, part: str) -> str:
        plain = unescape(part)  # the same name is written with and without escapes
        hidden = self._plain(plain, Kind.CGROUP)
        return part if hidden == plain else hidden

    _HIDE: ClassVar = {"id": _id, "pod": _id, "token": _token, "session": _token}  #: other groups are names

    def _file_part(self, part: str) -> str:
        if not part or part in _PUBLIC_FILES:
            return part
        extension = _EXTENSION.search(part)
        stem = part[: extension.start()] if extension else part
        kept = stem in _PUBLIC_FILES or f"{stem}.log" in _PUBLIC_FILES
        return (stem if kept else self._word(stem, Kind.FILE)) + part[len(stem) :]

    def _stream(self, text: str, purpose: str, alphabet: str, length: int) -> str:
        data = f"{purpose}\0{text}".encode("utf-8", "surrogatepass")
        blocks = range(length // 32 + 1)
        raw = b"".join(blake2s(data, key=self._key, person=bytes([block])).digest() for block in blocks)
        return "".join(alphabet[byte % len(alphabet)] for byte in raw[:length])  # 16, 32 divide 256; 10 is near


def _kmsg_escaped(name: str) -> str:
    r"""Return *name* as ``/dev/kmsg`` prints it: bytes below 32, above 126 and backslashes as ``\xHH``."""
    encodable = re.sub("[\ud800-\udc7f\udd00-\udfff]", "?", name)  # surrogates that stand for no byte
    raw = encodable.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if 32 <= byte < 127 and byte != 0x5C else f"\\x{byte:02x}" for byte in raw)


def _bounded(name: str, kind: Kind) -> str:
    """Return a pattern for *name* where it stands alone."""
    if kind is Kind.ID:  # ids stand inside names: docker-<id>.scope
        return rf"(?<![0-9a-z]){re.escape(name)}(?![0-9a-z])"
    before = r"(?<![\w/-])" if re.match(r"[\w/]", name) else ""
    after = r"(?![\w-])(?![=:]\S)" if re.search(r"\w\Z", name) else ""
    return before + re.escape(name) + after
