"""
How secrets on command lines are known: by name, by the option of a program, by their look.

Sources: the manual pages of the programs (those marked *insecure on the command line* there), and what the issuers of
tokens publish about their form for secret scanners.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from oomsight._lazy import lazy

_WORDS: Final = frozenset({
    "auth", "authorization", "bearer", "cookie", "credential", "credentials", "jwt", "masterauth", "otp", "pass",
    "passin", "passout", "passphrase", "passwd", "password", "passwords", "pin", "psk", "pw", "pwd", "requirepass",
    "secret", "secrets", "sig", "signature", "token",
})  # fmt: skip
_ENDS: Final = ("password", "passwd", "passphrase", "secret", "token", "apikey", "authkey", "accesskey", "secretkey",
                "privatekey")  # fmt: skip
_PASS: Final = frozenset({"dbpass", "ftppass", "httppass", "mailpass", "rootpass", "smtppass", "sshpass", "userpass"})
_KEYS: Final = frozenset({
    "access", "account", "api", "app", "auth", "client", "deploy", "encryption", "hmac", "jwt", "license", "master",
    "private", "secret", "service", "session", "shared", "signing", "storage",
})  # fmt: skip
"""What makes a secret of the ``key`` that follows; other keys sort, cache and index."""
_NOT: Final = frozenset({
    "command", "dir", "directory", "enabled", "env", "expiry", "file", "format", "header", "id", "interval", "length",
    "lifetime", "limit", "max", "method", "min", "mode", "name", "path", "policy", "provider", "proxy", "size",
    "through", "timeout", "ttl", "type", "uri", "url", "version",
})  # fmt: skip
"""A name that ends so tells of a secret, but not the secret."""
_SPLIT: Final = lazy(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")


def announces(name: str) -> bool:
    """Whether a secret follows an option, a variable or a key of this *name*."""
    words = [word.lower() for word in _SPLIT.findall(name.removeprefix("-D"))]
    if not words or words[-1] in _NOT:
        return False
    if any(word in _WORDS or word in _PASS or word.endswith(_ENDS) for word in words):
        return True
    return words[-1] == "key" and (len(words) == 1 or words[-2] in _KEYS)


class Places(NamedTuple):
    """Where a program takes secrets that no name announces."""

    options: frozenset[str] = frozenset()  #: the word after these, and what ``=`` joins to them
    glued: tuple[str, ...] = ()  #: what stands in one word with these
    commands: frozenset[str] = frozenset()  #: all that follows these but options
    shape: Any = None  #: pattern of an argument that holds one; its first group stays
    then: Mapping[str, Places] = {}  #: a command of the program -> what counts from there on


def _at(options: str = "", glued: str = "", commands: str = "", shape: str | None = None) -> Places:
    pattern = None if shape is None else lazy(shape)
    return Places(frozenset(options.split()), tuple(glued.split()), frozenset(commands.split()), pattern)


_MYSQL: Final = _at("", "-p")
_CURL: Final = _at("-u --user -U --proxy-user -b --cookie --pass --tlspassword --oauth2-bearer -E --cert", "-u -U -b")
_LDAP: Final = _at("-w -s -a", "-w")
_MONGO: Final = _at("-p", "-p")
_LOGIN: Final = Places(then={"login": _MONGO})

PLACES: Final[dict[str, Places]] = {
    "": _at("--proxy-user --basic-auth --user-pass password passphrase aws_secret_access_key"),
    **dict.fromkeys(("mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlcheck", "mysqlshow", "mariadb",
                     "mariadb-dump", "mariadb-admin", "mariadb-backup", "xtrabackup", "mydumper"), _MYSQL),
    **dict.fromkeys(("mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport"), _MONGO),
    **dict.fromkeys(("ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldappasswd", "ldapwhoami"), _LDAP),
    **dict.fromkeys(("snmpwalk", "snmpget", "snmpset", "snmpbulkwalk", "snmptable"), _at("-c -A -X -a -x")),
    **dict.fromkeys(("sqlplus", "sqlldr", "exp", "imp", "expdp", "impdp", "rman"),
                    _at("", "", "", r"^([^/\s@-][^/\s@]*/)[^@\s]+")),
    **dict.fromkeys(("smbclient", "rpcclient", "smbget", "net"), _at("", "", "", r"^([^%\s]+%)\S+")),
    **dict.fromkeys(("zip", "unzip"), _at("-P", "-P")),
    **dict.fromkeys(("7z", "7za", "7zr", "rar", "unrar"), _at("", "-p -hp")),
    **dict.fromkeys(("sqlcmd", "bcp"), _at("-P", "-P")),
    **dict.fromkeys(("redis-cli", "valkey-cli"), _at("-a")),
    "curl": _CURL,
    **dict.fromkeys(("docker", "podman", "nerdctl", "helm", "oc", "az"), _LOGIN),
    "sshpass": _at("-p", "-p"), "htpasswd": _at("", "", "-b -nb -bn -bB -Bb -cb -bc -nbB -Bbn"),
    "openssl": _at("-k -K -passin -passout -pass"), "ipmitool": _at("-P -Y -K"), "lftp": _at("-u --user", "-u"),
    "vault": _at("", "", "login unwrap"), "rabbitmqctl": _at("", "", "add_user change_password authenticate_user"),
    "etcdctl": _at("--user"), "wget": _at("--post-data"), "http": _at("-a"), "https": _at("-a"),
    "xfreerdp": _at("", "/p:"), "rdesktop": _at("-p", "-p"),
    **dict.fromkeys(("mosquitto_pub", "mosquitto_sub", "mosquitto_rr"), _at("-P")),
    **dict.fromkeys(("ss-server", "ss-local", "ssserver", "sslocal"), _at("-k", "-k")),
    **dict.fromkeys(("cqlsh", "rabbitmqadmin", "twine"), _at("-p")), **dict.fromkeys(("isql", "tsql"), _at("-P", "-P")),
    "nmcli": _at("password wep-key wifi-sec.psk 802-11-wireless-security.psk 802-1x.password"),
    "wpa_passphrase": _at("", "", "", r"^()\S{8,63}$"), "ngrok": _at("authtoken add-authtoken"), "influx": _at("-t"),
    "chpasswd": _at("", "", "", r"^([^:\s]+:)\S+"), "useradd": _at("-p"), "usermod": _at("-p"),
}  # fmt: skip
"""Program -> where it takes secrets; ``""``: any other."""

LOOKS: Final = lazy(
    r"\b(?:"
    r"gh[pousr]_\w{20,}|github_pat_\w{20,}|gl[a-z]{2,5}-[\w-]{20,}"  # GitHub, GitLab
    r"|xox[abeprs]-[\w-]{10,}|xapp-[\w-]{10,}|(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}"  # Slack, AWS
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*|[srp]k_(?:live|test)_\w{10,}|sk-[\w-]{16,}|whsec_\w{16,}"  # JWT, Stripe, …
    r"|AIza[\w-]{30,}|ya29\.[\w-]{20,}|SG\.[\w-]{10,}\.[\w-]{10,}|hv[sbr]\.[\w-]{20,}"  # Google, SendGrid, Vault
    r"|npm_\w{20,}|hf_\w{20,}|dop_v1_\w{20,}|pypi-[\w-]{16,}|shp[a-z]{2}_\w{20,}|dckr_pat_[\w-]{20,}"
    r")|-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)"
    r"|(?<=hooks\.slack\.com/services/)[\w/]+|(?<=/api/webhooks/)\d+/[\w-]+|(?<=api\.telegram\.org/bot)[\w:-]+"
    # Mixed letters and digits without a word in them: 40 of base64 (AWS), 32 and more of what URLs hold.
    r"|(?<![\w/+.-])(?=[^a-z\s]{0,39}[a-z])(?=[^A-Z\s]{0,39}[A-Z])(?=\D{0,39}\d)[A-Za-z0-9+][A-Za-z0-9/+]{39}(?![\w/+.-])"
    r"|(?<![\w/+.-])(?=(?:[A-Z\d_-]*[a-z]){3})(?=(?:[a-z\d_-]*[A-Z]){3})(?=(?:[A-Za-z_-]*\d){3})[\w-]{32,}={0,2}(?![\w/.-])"
)
"""Secrets that are known by their look alone."""
