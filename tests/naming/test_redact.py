"""Pseudonyms: consistent, keyed, collision-free, and the verdict stays the same."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.naming.cgroup_layouts import LAYOUTS
from oomsight.naming.cgroup_path import describe, relation
from oomsight.naming.marked import Kind, mark, unmark
from oomsight.naming.redact import Pseudonyms, is_public

KEY = b"a key for tests"
ID = "3f4a8c0d1e2f" + "5a" * 26
UID = "8dbc2f0a-54a5-4b3e-9c5d-0123456789ab"

WORD = st.from_regex(r"[a-z][a-z0-9-]{0,12}", fullmatch=True)
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
UUID = st.uuids().map(str)
MADE_UP = st.one_of(
    WORD,
    st.text(max_size=12),
    HEX,
    HEX.map(lambda text: text[:32]),
    UUID,
    WORD.map("{}.service".format),
    WORD.map("app-gnome-{}-4711.scope".format),
    WORD.map("lxc.payload.{}".format),
    WORD.map("machine-{}.scope".format),
    WORD.map("{}.slice".format),
    st.tuples(WORD, WORD).map(lambda pair: f"{pair[0]}@{pair[1]}.service"),
    HEX.map("docker-{}.scope".format),
    HEX.map("crio-conmon-{}.scope".format),
    UUID.map("pod{}".format),
    UUID.map(lambda uid: f"kubepods-besteffort-pod{uid.replace('-', '_')}.slice"),
    st.tuples(UUID, HEX).map(lambda pair: f"kubepods-pod{pair[0].replace('-', '_')}.slice:cri-containerd:{pair[1]}"),
    st.tuples(UUID, WORD).map(lambda pair: f"{pair[0]}.{pair[1]}.scope"),
)
PIECES = st.sampled_from(sorted({part for layout in LAYOUTS for part in layout.example.split("/")}))
TAILS = st.lists(PIECES | MADE_UP, max_size=7).map(lambda parts: "/" + "/".join(parts))
REAL = st.sampled_from([layout.example for layout in LAYOUTS])  # so that every context is entered
PATHS = TAILS | st.tuples(REAL, REAL | TAILS).map("".join)


def shape(path):
    owner, out = describe(path), []
    while owner is not None:
        out.append((owner.kind, owner.level, owner.orchestrator, owner.runtime, owner.qos, owner.uid,
                    owner.session is None, owner.container_id is None, owner.pod_uid is None, owner.unit is None, owner.machine is None))  # fmt: skip
        owner = owner.nested
    return out


@given(PATHS)
def test_cgroup_pseudonym_describes_the_same(path):
    assert shape(Pseudonyms(KEY).name(path, Kind.CGROUP)) == shape(path)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_cgroup_pseudonym_describes_the_same_for_every_layout(layout):
    assert shape(Pseudonyms(KEY).name(layout.example, Kind.CGROUP)) == shape(layout.example)


@given(PATHS, PATHS)
def test_cgroup_pseudonym_keeps_ancestry(parent, child):
    redacted = Pseudonyms(KEY)
    below = (parent + child).replace("//", "/")
    before = relation(parent, below).partition(":")[0]
    after = relation(redacted.name(parent, Kind.CGROUP), redacted.name(below, Kind.CGROUP)).partition(":")[0]
    assert re.sub("\x02.*?\x03", "", before, flags=re.S) == re.sub("\x02.*?\x03", "", after, flags=re.S)


def test_cgroup_pseudonym_hides_names_and_ids_only():
    path = f"/lxc/107/ns/system.slice/docker-{ID}.scope/kubepods/burstable/pod{UID}/acme/postgres@prod-7.service"
    redacted = Pseudonyms(KEY).name(path, Kind.CGROUP)
    assert re.fullmatch(
        r"/lxc/107/ns/system\.slice/docker-[0-9a-f]{64}\.scope/kubepods/burstable"
        r"/pod[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/name-[a-z2-7]{6}/postgres@name-[a-z2-7]{6}\.service",
        redacted,
    )
    assert ID not in redacted
    assert UID not in redacted


SITES = (
    "/{}/{}.service/{}@{}.scope/{}.slice", "/system.slice/system-{}.slice/{}@.service", "/x/snap.{}.{}.scope",
    "/app.slice/app-gnome-{}-4711.scope", "/app.slice/app-{}@autostart.service", "/lxc/{}/ns/{}", "/lxc.monitor.{}/{}",
    "/machine.slice/systemd-nspawn@{}.service/payload/{}", r"/machine.slice/machine-qemu\x2d3\x2d{}.scope", "/ecs/{}",
    "/{}-kubepods.slice/{}", "/firecracker/{}", "/slurm_{}/uid_1", "/pbs_jobs.service/jobid/7.{}", "/htcondor/condor_{}",
    "/{}.slice:docker:" + ID, "/nomad/" + UID + ".{}.scope", "/garden/" + UID + "-{}", "…/{}/…/{}",
)  # fmt: skip


@pytest.mark.parametrize("site", SITES)
@given(secret=st.from_regex("zq[a-z]{2,9}", fullmatch=True))
def test_cgroup_pseudonym_leaks_no_chosen_name(site, secret):
    path = site.replace("{}", secret)
    redacted = Pseudonyms(KEY)
    assert secret not in redacted.name(path, Kind.CGROUP)
    assert secret not in redacted.redact_marked(describe(path).words)
    assert secret not in redacted.redact_marked(describe(path).short)


def test_id_pseudonym_keeps_short_forms_and_separators():
    redacted = Pseudonyms(KEY)
    whole = redacted.name(ID, Kind.ID)
    assert redacted.name(ID[:12], Kind.ID) == whole[:12]
    assert redacted.name(ID[:8], Kind.ID) == whole[:8]
    assert redacted.name(f"docker-{ID}.scope", Kind.OWNER) == f"docker-{whole}.scope"
    uid = redacted.name(UID, Kind.ID)
    assert redacted.name(f"kubepods-pod{UID.replace('-', '_')}.slice", Kind.CGROUP) == (
        f"kubepods-pod{uid.replace('-', '_')}.slice"
    )
    assert redacted.name("docker-<id>.scope", Kind.OWNER) == "docker-<id>.scope"


def test_same_name_same_token_whatever_it_names():
    redacted = Pseudonyms(KEY)
    token = redacted.name("acme-billing", Kind.COMM).removeprefix("comm-")
    assert redacted.name("acme-billing.service", Kind.OWNER) == f"name-{token}.service"
    assert redacted.name(r"/system.slice/acme\x2dbilling.service", Kind.CGROUP) == f"/system.slice/name-{token}.service"
    assert redacted.name("acme-billing", Kind.HOST) == f"host-{token}"


def test_pseudonyms_depend_on_the_key_and_only_on_it():
    first, again, other = Pseudonyms(KEY), Pseudonyms(KEY), Pseudonyms(b"another key")
    again.name("something else first", Kind.COMM)
    assert first.name("acme", Kind.COMM) == again.name("acme", Kind.COMM)
    assert first.name("acme", Kind.COMM) != other.name("acme", Kind.COMM)
    assert first.name(ID, Kind.ID) != other.name(ID, Kind.ID)


def test_empty_key_is_refused_and_a_long_one_taken():
    with pytest.raises(ValueError, match="without a key"):
        Pseudonyms(b"")
    assert Pseudonyms(b"x" * 100).name("acme", Kind.COMM) != Pseudonyms(b"x" * 101).name("acme", Kind.COMM)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("java", Kind.COMM), ("python3.11", Kind.COMM), ("php-fpm8.2", Kind.COMM), ("kworker/u8:2-nfsiod", Kind.COMM),
     ("kswapd0", Kind.COMM), ("(sd-pam)", Kind.COMM), ("Web Content", Kind.COMM), ("order", Kind.COMM),
     ("4711", Kind.COMM), ("", Kind.COMM), ("root", Kind.USER), ("/user.slice/user-1000.slice", Kind.CGROUP),
     ("/lxc/100102", Kind.CGROUP), ("/slurm/uid_1001/job_4711", Kind.CGROUP), ("…", Kind.CGROUP), ("/", Kind.CGROUP),
     ("/var/log/kern.log.1.gz", Kind.FILE), ("<stdin>", Kind.FILE)],
)  # fmt: skip
def test_what_is_no_secret_is_kept(text, kind):
    assert Pseudonyms(KEY).name(text, kind) == text


@pytest.mark.parametrize(
    ("text", "kind", "pattern"),
    [("acme", Kind.COMM, "comm-[a-z2-7]{6}"), ("db7.example.org", Kind.HOST, "host-[a-z2-7]{6}"),
     ("1000", Kind.USER, "user-[a-z2-7]{6}"), ("alice", Kind.USER, "user-[a-z2-7]{6}"),
     ("/home/alice/incident.txt", Kind.FILE, r"/home/file-[a-z2-7]{6}/file-[a-z2-7]{6}\.txt"),
     ("web", Kind.ID, "id-[a-z2-7]{6}"), ("a\udcffb", Kind.COMM, "comm-[a-z2-7]{6}"),
     ("\ud800", Kind.COMM, "comm-[a-z2-7]{6}")],
)  # fmt: skip
def test_pseudonym_form(text, kind, pattern):
    assert re.fullmatch(pattern, Pseudonyms(KEY).name(text, kind))


def test_no_two_names_share_a_pseudonym_when_tokens_collide(monkeypatch):
    # Two hex digits of entropy in the first six characters make collisions certain among 300 names.
    honest = Pseudonyms._stream

    def weak(self, text, purpose, alphabet, length):
        stream = honest(self, text, purpose, alphabet, length)
        return "aaaa" + stream[:2].translate(str.maketrans("qrstuvwxyz234567", "abcdefghijklmnop")) + stream[2:-4]

    monkeypatch.setattr(Pseudonyms, "_stream", weak)
    redacted = Pseudonyms(KEY)
    names = [f"acme-{number}" for number in range(300)]
    pseudonyms = [redacted.name(name, Kind.COMM) for name in names]
    assert len(set(pseudonyms)) == 300
    assert max(map(len, pseudonyms)) > len("comm-") + 6
    assert pseudonyms == [redacted.name(name, Kind.COMM) for name in names]


@given(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=30))
def test_different_names_get_different_pseudonyms(names):
    redacted = Pseudonyms(KEY)
    assert len({redacted.name(name, Kind.COMM) for name in names}) == len(names)


def test_redact_marked_keeps_sentence_and_marks():
    redacted = Pseudonyms(KEY)
    sentence = f"{mark('acme')} (pid 42) was in {mark('/system.slice/acme.service', Kind.CGROUP)}; {mark('java')} was not."
    pseudonym = redacted.name("acme", Kind.COMM)
    unit = pseudonym.replace("comm-", "name-")
    assert redacted.redact_marked(sentence) == (
        f"{mark(pseudonym)} (pid 42) was in {mark(f'/system.slice/{unit}.service', Kind.CGROUP)}; {mark('java')} was not."
    )


@given(PATHS)
def test_redact_marked_leaves_no_made_up_name_in_words(path):
    redacted = Pseudonyms(KEY)
    words = describe(path).words
    assert unmark(redacted.redact_marked(words)).count("inside") >= words.count(", inside ")
    assert redacted.redact_marked(words).count("\x02") == words.count("\x02")


RAW = """\
Nov 23 09:58:29 db7 kernel: acme invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
Nov 23 09:58:29 db7 kernel: Node 0 DMA free:11264kB min:16kB order:1kB rss:12kB, anon-rss:4kB
Nov 23 09:58:29 db7 kernel: [  42]  1000    42  1234  567  8192  0  0 acme-worker
Nov 23 09:58:29 db7 kernel: oom-kill:constraint=CONSTRAINT_MEMCG,cpuset=/,oom_memcg=/acme,task_memcg=/acme/web,task=acme,pid=42
Nov 23 09:58:29 db7 kernel: Killed process 42 (acme) of d\\xc3\\xbcrr and dürr
"""


def test_redact_text_replaces_known_names_and_nothing_else():
    redacted = Pseudonyms(KEY)
    names = {"acme": Kind.COMM, "acme-worker": Kind.COMM, "rss": Kind.COMM, "order": Kind.COMM, "anon": Kind.COMM,
             "db7": Kind.HOST, "/acme": Kind.CGROUP, "/acme/web": Kind.CGROUP, "/": Kind.CGROUP, "dürr": Kind.COMM}  # fmt: skip
    acme, worker = redacted.name("acme", Kind.COMM), redacted.name("acme-worker", Kind.COMM)
    host, parent, child = redacted.name("db7", Kind.HOST), *(redacted.name(p, Kind.CGROUP) for p in ("/acme", "/acme/web"))
    umlaut = redacted.name("dürr", Kind.COMM)
    assert child.startswith(parent + "/")
    assert redacted.redact_text(RAW, names) == f"""\
Nov 23 09:58:29 {host} kernel: {acme} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
Nov 23 09:58:29 {host} kernel: Node 0 DMA free:11264kB min:16kB order:1kB rss:12kB, anon-rss:4kB
Nov 23 09:58:29 {host} kernel: [  42]  1000    42  1234  567  8192  0  0 {worker}
Nov 23 09:58:29 {host} kernel: oom-kill:constraint=CONSTRAINT_MEMCG,cpuset=/,oom_memcg={parent},task_memcg={child},task={acme},pid=42
Nov 23 09:58:29 {host} kernel: Killed process 42 ({acme}) of {umlaut} and {umlaut}
"""


def test_redact_text_finds_ids_inside_names():
    redacted = Pseudonyms(KEY)
    assert redacted.redact_text(f"cpuset=docker-{ID}.scope x{ID}", {ID: Kind.ID}) == (
        f"cpuset=docker-{redacted.name(ID, Kind.ID)}.scope x{ID}"
    )


def test_redact_text_without_names_is_the_same_text():
    assert Pseudonyms(KEY).redact_text(RAW, {"java": Kind.COMM}) == RAW


@given(st.text(max_size=60), st.dictionaries(st.text(max_size=6), st.sampled_from(list(Kind)), max_size=5))
def test_redact_text_touches_only_text_that_holds_a_name(raw, names):
    redacted = Pseudonyms(KEY).redact_text(raw, names)
    assert redacted == raw or any(name and name in raw for name in names) or "\\x" in raw


def test_public_names_are_exact():
    assert is_public("postgres")
    assert not is_public("postgres-acme")
    assert not is_public("Postgres")


MADE_UP_TOKENS = (
    (f"/app.slice/snap.code.code-{UID}.scope", UID),
    (f"/app.slice/snap.lxd.hook.configure.{UID}.scope", UID),
    (f"/app.slice/vte-spawn-{UID}.scope", UID),
    ("/system.slice/run-r0123456789abcdef0123456789abcdef.scope", "0123456789abcdef0123456789abcdef"),
    ("/app.slice/run-p3295453-i208789885.scope", "3295453"),
    ("/app.slice/run-p3295453-i208789885.scope", "208789885"),
    ("/system.slice/run-u1731.service", "1731"),
    ("/app.slice/app-gnome-org.gnome.Maps-47113.scope", "47113"),
    ("/app.slice/app-flatpak-org.mozilla.firefox-47113.scope", "47113"),
    ("/app.slice/app-firefox-0123456789abcdef0123456789abcdef.scope", "0123456789abcdef0123456789abcdef"),
    ("/user.slice/user-1000.slice/session-16134.scope", "16134"),
    ("/user.slice/user-1000.slice/session-c16134.scope", "16134"),
)


@pytest.mark.parametrize(("path", "token"), MADE_UP_TOKENS)
def test_what_only_tells_scopes_apart_is_hidden_the_same_everywhere(path, token):
    redacted, owner = Pseudonyms(KEY), describe(path)
    hidden = redacted.name(path, Kind.CGROUP)
    told = describe(hidden)
    assert token not in hidden
    assert (told.kind, told.unit is None, told.uid) == (owner.kind, owner.unit is None, owner.uid)
    assert redacted.name(owner.unit, Kind.OWNER) == told.unit
    if owner.session:
        assert redacted.redact_marked(owner.words) == told.words
    assert token not in redacted.redact_marked(owner.words) + redacted.redact_marked(owner.short)


def test_two_sessions_stay_two_and_the_user_id_stays():
    redacted = Pseudonyms(KEY)
    names = {redacted.name(f"/user.slice/user-1000.slice/session-{number}.scope", Kind.CGROUP) for number in range(1, 300)}
    assert len(names) == 299
    assert all(re.fullmatch(r"/user\.slice/user-1000\.slice/session-\d{6}\.scope", name) for name in names)


def test_a_long_unit_is_shown_without_its_token():
    path = f"/user.slice/user-1000.slice/user@1000.service/app.slice/snap.firefox.firefox-{UID}.scope"
    assert unmark(describe(path).short) == "snap.firefox.firefox-….scope of user 1000"
