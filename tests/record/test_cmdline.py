"""Secrets on command lines, in the forms they are given to real programs; and what is no secret and stays."""

from __future__ import annotations

import time

import pytest

from oomsight.record.cmdline import MASK, masked, masked_words
from oomsight.record.secrets import announces

# One command line in each row, its words parted by |.
FORMS = r"""
app|--password=hunter2X
app|--password|hunter2X
app|-password|hunter2X
mysql|-uroot|-phunter2X|db
mysqldump|-phunter2X
mysql|--password=hunter2X
PGPASSWORD=hunter2X
env|PGPASSWORD=hunter2X|psql
sh|-c|PGPASSWORD=hunter2X psql -h db
sh|-c|mysql -uroot -phunter2X shop
sh|-c|exec app --password hunter2X --x
sh|-c|curl -u admin:hunter2X http://h/
curl|-u|admin:hunter2X|http://h/
curl|--user|admin:hunter2X
curl|-uadmin:hunter2X
curl|-H|Authorization: Bearer hunter2X
curl|-H|authorization: Basic hunter2X
curl|-H|X-Api-Key: hunter2X
curl|-H|PRIVATE-TOKEN: hunter2X
curl|-H|Cookie: session=hunter2X
curl|-b|session=hunter2X
curl|https://user:hunter2X@host/p
curl|https://hunter2X@github.com/x/y.git
git|clone|https://oauth2:hunter2X@gitlab.com/x.git
redis-cli|-a|hunter2X
redis-server|--requirepass|hunter2X
redis-cli|-u|redis://:hunter2X@h:6379
app|redis://:hunter2X@h/0
app|postgres://u:hunter2X@db/x
app|postgresql://u:p%40hunter2X@db/x
app|host=db user=u password=hunter2X dbname=x
app|mongodb+srv://u:hunter2X@c/x
mongo|-u|admin|-p|hunter2X
mongosh|--password|hunter2X
java|-Djavax.net.ssl.keyStorePassword=hunter2X|-jar|a.jar
java|-Ddb.password=hunter2X
java|-Dspring.datasource.password=hunter2X
app|jdbc:mysql://h/db?user=u&password=hunter2X
app|jdbc:oracle:thin:u/hunter2X@h:1521/x
app|https://h/cb?access_token=hunter2X&x=1
app|https://h/?token=hunter2X
app|https://h/?api_key=hunter2X
app|https://h/?sig=hunter2X&sv=2
app|https://b.s3.amazonaws.com/o?X-Amz-Signature=hunter2X&X-Amz-Credential=x
app|AWS_SECRET_ACCESS_KEY=hunter2X
app|--aws-secret-access-key=hunter2X
app|--secret-key|hunter2X
app|--secret_key=hunter2X
app|--api-key|hunter2X
app|--apikey=hunter2X
app|--access-token=hunter2X
app|--client-secret|hunter2X
app|--private-key=hunter2X
app|--auth-token=hunter2X
app|--auth=user:hunter2X
app|--credentials|hunter2X
app|--passphrase|hunter2X
gpg|--passphrase|hunter2X
openssl|enc|-k|hunter2X
openssl|rsa|-passin|pass:hunter2X
openssl|req|-passout|pass:hunter2X
sshpass|-p|hunter2X|ssh h
sshpass|-phunter2X|ssh|h
htpasswd|-b|f|u|hunter2X
ldapsearch|-D|cn=a|-w|hunter2X
ldapsearch|-whunter2X
smbclient|//h/s|-U|u%hunter2X
mount.cifs|//h/s|/m|-o|user=u,pass=hunter2X
mount.cifs|//h/s|/m|-o|username=u,password=hunter2X
sqlcmd|-U|sa|-P|hunter2X
sqlplus|u/hunter2X@db
docker|login|-u|u|-p|hunter2X
docker|run|-e|DB_PASSWORD=hunter2X|img
docker|run|-e|SECRET=hunter2X|img
docker|run|--env=API_TOKEN=hunter2X|img
ipmitool|-U|a|-P|hunter2X|power
snmpwalk|-c|hunter2X|h
wget|--http-password=hunter2X
wget|--password=hunter2X
sudo|mysql|-phunter2X
kubectl|exec|pod|--|mysql|-uroot|-phunter2X
bash|-c|cd x && redis-cli -a hunter2X ping
bash|-c|bash -c 'mysql -phunter2X'
sh|-c|curl -H 'Authorization: Bearer hunter2X' h
sh|-c|app --password 'a hunter2X'
rclone|--sftp-pass|hunter2X
borg|--passphrase=hunter2X
vault|login|hunter2X
vault|token=hunter2X
consul|--token=hunter2X
kubectl|--token=hunter2X
helm|--set|db.password=hunter2X
helm|--set|auth.rootPassword=hunter2X,x=y
ansible-playbook|-e|db_pass=hunter2X
ansible-playbook|-e|{"password": "hunter2X"}
node|app.js|{"apiKey":"hunter2X"}
python|-c|password = 'hunter2X'; run()
app|--db-url=mysql://u:hunter2X@h/db
app|DATABASE_URL=postgres://u:hunter2X@h/db
app|SENTRY_DSN=https://hunter2X@sentry.io/1
app|Server=h;User|Id=u;Password=hunter2X;
app|Server=h;Uid=u;Pwd=hunter2X;
app|AccountName=a;AccountKey=hunter2X;EndpointSuffix=x
app|SharedAccessKey=hunter2X
app|amqp://u:hunter2X@h
app|ftp://u:hunter2X@h
lftp|-u|user,hunter2X|h
7z|x|-phunter2X|a.7z
unzip|-P|hunter2X|a.zip
zip|-P|hunter2X|a.zip
pg_dump|postgres://u:hunter2X@h
psql|postgresql://h/db?password=hunter2X
minio|--root-password=hunter2X
etcdctl|--user=root:hunter2X
rabbitmqctl|add_user|u|hunter2X
chpasswd|u:hunter2X
app|--pin=hunter2X
app|--passwd=hunter2X
app|--pwd=hunter2X
app|--pass=hunter2X
app|--pass|hunter2X
app|-pass|hunter2X
app|pass:hunter2X
app|--key=hunter2X
app|--encryption-key=hunter2X
app|--license-key=hunter2X
app|--signing-key|hunter2X
app|--hmac-key=hunter2X
app|--session-secret=hunter2X
app|SESSION_SECRET=hunter2X
app|--jwt=hunter2X
app|--bearer|hunter2X
app|--otp=hunter2X
app|--webhook-url=https://hooks.slack.com/services/T0/B0/hunter2X
java|-jar|agent.jar|-secret|hunter2X|-name|x
app|--password='hunter2X'
app|--Password:hunter2X
app|/password:hunter2X
app|--token|hunter2X
app|--cookie=hunter2X
celery|-b|redis://:hunter2X@h//
app|--basic-auth|u:hunter2X
app|--proxy-user|u:hunter2X
curl|-x|http://u:hunter2X@proxy:3128
mosquitto_sub|-h|broker|-u|u|-P|hunter2X
ss-server|-s|h|-k|hunter2X
cqlsh|h|-u|u|-p|hunter2X
tsql|-S|s|-U|u|-P|hunter2X
nmcli|dev|wifi|connect|x|password|hunter2X
wpa_passphrase|home|hunter2X
ngrok|config|add-authtoken|hunter2X
tailscale|up|--authkey|hunter2X
java|-Dpw=hunter2X|-jar|a.jar
app|password|hunter2X
app|root:hunter2X@tcp(127.0.0.1:3306)/shop
app|--dsn=root:hunter2X@unix(/run/mysqld.sock)/shop
""".strip().split("\n")
# Made up, each in the form its issuer publishes; put together here so that no scanner takes this file for a leak.
TOKENS = [
    "eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "AKIA" + "IOSFODNN7EXAMPLE", "ASIA" + "IOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY",
    "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a", "github_pat_" + "11ABCDEFG0abcdefghijkl_abcdefghijklmnopqr",
    "glpat-" + "X" * 20, "xoxb-" + "123456789012-abcdefghijkl", "xapp-" + "1-A0-123-abcdef0123",
    "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc", "rk_live_" + "4eC39HqLyjWDarjtT1zdp7dc", "whsec_" + "a1" * 10,
    "AIza" + "SyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY", "sk-" + "proj-abcdefghijklmnopqrstuv", "npm_" + "a1" * 18,
    "hf_" + "aB" * 17, "SG." + "abcdefghijklmnop.qrstuvwxyz0123456789abcdef", "dop_v1_" + "a" * 64,
    "pypi-" + "AgEIcHlwaS5vcmcCJDU2", "hvs." + "CAESIJlU9JMYEhOPYv4igdhm9PnZDrabYTobQ4Ymnlq1",
    "-----BEGIN RSA PRIVATE KEY-----MIIEv", "https://discord.com/api/webhooks/123/abcdef-ghij",
    "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7" + "cF0hL3n", "api.telegram.org/bot" + "123456:abcdef/getMe",
]  # fmt: skip
PLAIN = r"""
java|-Xmx512m|-XX:+UseG1GC|-cp|/opt/app/lib-1.2.jar:/opt/app/Main.jar|-jar|app.jar|--server.port=8080
postgres: walwriter
nginx: master process /usr/sbin/nginx -g daemon off;
node|--max-old-space-size=512|server.js
python3|-m|http.server|8000|--bind|127.0.0.1
python3|-m|vllm|--max-tokens=4096|--sort-key|name|--cache-key-size=3
mysqld|--port=3306|--user=mysql|--pid-file=/run/mysqld/mysqld.pid
tar|-pxf|a.tar
docker|run|-p|80:80|-e|MODE=fast|registry.example/shop/web:1.2
kube-apiserver|--tls-private-key-file=/etc/x.key|--token-auth-file=/f|--authorization-mode=RBAC|--secret-ttl|5
sh|-c|while true; do ps -p 12; sleep 1; done
sshd|-D|-o|AuthorizedKeysFile=x
proxy|--pass-through|yes|--bypass|2|--compass=n|--auth-url=https://sso.example/login
containerd-shim|-namespace|moby|-id|4f2c0e9b1a7d4f2c0e9b1a7d4f2c0e9b1a7d4f2c0e9b1a7d4f2c0e9b1a7d0001
git|checkout|9b1a7d4f2c0e9b1a7d4f2c0e9b1a7d4f2c0e9b1a
app|/usr/lib/x86_64-linux-gnu/Some/Path/With3Digits/AndLetters|https://user.example:8443/a@b
""".strip().split("\n")


@pytest.mark.parametrize("line", FORMS)
def test_a_secret_is_not_kept(line) -> None:
    kept = masked(line.replace("|", "\0").encode(), 2000)
    assert kept is not None
    assert "hunter2X" not in kept
    assert MASK in kept


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_is_known_by_its_look(token) -> None:
    assert masked(b"app\0run\0" + token.encode(), 2000).count(MASK) == 1
    assert token not in masked(b"app\0--x=" + token.encode() + b"\0y", 2000)


@pytest.mark.parametrize("line", PLAIN)
def test_what_is_no_secret_stays(line) -> None:
    words = line.split("|")
    assert masked_words(words) == words


def test_only_the_secret_goes() -> None:
    line = ["sh", "-c", "cd /srv && PGPASSWORD='a b' psql -h db -c 'select 1' && curl -u me:x https://h/p?token=t&n=1"]
    assert masked_words(line)[2] == (
        "cd /srv && PGPASSWORD=*** psql -h db -c 'select 1' && curl -u *** https://h/p?token=***&n=1"
    )
    assert masked_words(["app", "host=db user=u password=x dbname=shop"])[1] == "host=db user=u password=*** dbname=shop"
    assert masked_words(["x", '{"user": "u", "password": "a b", "port": 1}'])[1] == (
        '{"user": "u", "password": ***, "port": 1}'
    )


def test_a_key_of_several_lines_goes_to_its_end() -> None:
    key = "-----BEGIN " + "PRIVATE KEY-----\nMIIEvQhunter2X\nhunter2X==\n-----END PRIVATE KEY-----"
    assert masked_words(["app", f"--pem={key}", "after"]) == ["app", "--pem=***", "after"]
    assert masked_words(["sh", "-c", f"echo '{key}' > k; ls"]) == ["sh", "-c", "echo '***' > k; ls"]
    assert masked_words(["app", key[:60]]) == ["app", MASK]  # what is cut off


def test_names() -> None:
    secret = "DB_PASSWORD MYSQL_PWD PGPASSWORD apiKey AWS_SECRET_ACCESS_KEY --rootPassword clientSecret --key -Ddb.pass"
    assert [name for name in secret.split() if not announces(name)] == []
    plain = "AWS_ACCESS_KEY_ID max_tokens tokenizer compass author sortKey --password-file passive monkey key_size PWD_MODE"
    assert [name for name in plain.split() if announces(name)] == []


@pytest.mark.parametrize("piece", ["a.b-", 'a="', "aB1", "x-", "a:b@tcp(", "-----BEGIN PRIVATE KEY-----", "a ", "a:", "password=", "'", "/opt/lib-1.jar:", "://@"])
def test_a_long_word_costs_time_in_proportion(piece) -> None:
    """Twenty times as long: hundreds of times as much work would be a hostile process's way to stop the recorder."""

    def spent(times: int) -> float:
        word, begun = piece * times, time.process_time()
        masked_words(["app", word])
        return time.process_time() - begun

    spent(10)
    assert spent(40_000) < 100 * max(spent(2_000), 0.002)
