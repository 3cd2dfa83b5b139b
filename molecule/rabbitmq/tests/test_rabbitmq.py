"""RabbitMQ as the broker of the whole stack: who may do what, what outlives a kill, and that workers, watch and sweep go on as with Redis."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import managed
import pytest
import yaml
from shop import WORKERS, Shop
from testinfra.host import Host

from lab import LAB_FOLDER

Wait = Callable[..., Any]
USERS = ("admin", "celery", "monitoring")
UNITS = tuple(f"stockpot-worker-{name}" for name in WORKERS)
DELAYED = "celery_delayed_11"
# Where service_tls is on, and what every RabbitMQ's certificate is for.
OVER_TLS = ("rabbitmq-trixie",)
TLS_NAME = "rabbitmq.stockpot.internal"
CERTIFICATE = "/etc/ssl/services/stockpot/rabbitmq.pem"
over_tls = pytest.mark.on(*OVER_TLS)
PYTHON = "/srv/stockpot/current/venv/bin/python"
# Logs in by AMQP and does one thing; prints what RabbitMQ says to it. Reads the address from standard input, where no password is seen.
CLIENT = """
import ssl, sys
from kombu import Connection, Queue
verified = {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": "/etc/ssl/services/stockpot/authority.pem", "server_hostname": sys.argv[2]}
try:
    with Connection(sys.stdin.readline().strip(), connect_timeout=5, ssl=verified if sys.argv[2] else False) as connection:
        channel = connection.channel()
        if sys.argv[1]:
            Queue(sys.argv[1], exclusive=True)(channel).declare()
    print("allowed")
except Exception as error:
    print(type(error).__name__, error)
"""
# Asks by HTTP; prints the status and what JSON says. Reads the login from standard input.
HTTP = """
import base64, json, sys, urllib.error, urllib.request
login = base64.b64encode(sys.stdin.readline().strip().encode()).decode()
headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
data = None if sys.argv[3] == "null" else sys.argv[3].encode()
request = urllib.request.Request(sys.argv[2], data, headers, method=sys.argv[1])
try:
    with urllib.request.urlopen(request, timeout=20) as answer:
        print(json.dumps([answer.status, json.loads(answer.read() or "null")]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, None]))
"""
# In the project: what its own app says of tasks, queues and workers.
PROJECT = (
    "import json, sys, time\nfrom config.celery import app\nimport django\ndjango.setup()\nfrom core import broker\n"
)


@pytest.fixture
def shop(host_name: str, published: Callable[[str, int], tuple[str, int]]) -> Shop:
    """The site of the host under test."""
    return Shop(f"https://localhost:{published(host_name, 443)[1]}")


@pytest.fixture(scope="session")
def passwords() -> dict[str, str]:
    """The users' passwords."""
    given = yaml.safe_load((LAB_FOLDER / "secrets.yml").read_text())["all"]["vars"]
    return {user: given[f"vault_rabbitmq_{user}_password"] for user in USERS}


@pytest.fixture
def typed(host_name: str) -> Callable[..., str]:
    """What a command on the host prints that is given a text by its standard input."""

    def run(text: str, *command: str) -> str:
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in command)
        done = subprocess.run(
            ["ssh", "-F", LAB_FOLDER / "ssh_config", host_name, quoted],
            input=text,
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def amqp(host_name: str, typed: Callable[..., str], passwords: dict[str, str]) -> Callable[..., str]:
    """What RabbitMQ says to a user by AMQP: `amqp("celery", queue="x", vhost="/")`."""

    def ask(user: str, *, queue: str = "", vhost: str = "stockpot", password: str = "", name: str = "") -> str:
        login = f"{name or f'stockpot-{user}'}:{password or passwords.get(user, 'guest')}"
        scheme, port, certificate = ("amqps", 5671, TLS_NAME) if host_name in OVER_TLS else ("amqp", 5672, "")
        return typed(f"{scheme}://{login}@127.0.0.1:{port}/{vhost}\n", PYTHON, "-c", CLIENT, queue, certificate)

    return ask


@pytest.fixture
def api(typed: Callable[..., str], passwords: dict[str, str]) -> Callable[..., tuple[int, Any]]:
    """What the management API answers a user: `api("monitoring", "GET", "queues/stockpot")`."""

    def ask(user: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        login = "guest:guest" if user == "guest" else f"stockpot-{user}:{passwords[user]}"
        words = ("python3", "-c", HTTP, method, f"http://127.0.0.1:15672/api/{path}", json.dumps(body))
        return tuple(json.loads(typed(f"{login}\n", *words)))

    return ask


def project(host: Host, program: str) -> Any:
    """What a program prints as JSON that runs as the application."""
    return json.loads(host.check_output("stockpot-python -c %s", PROJECT + program).splitlines()[-1])


def settled(host: Host, wait_until: Wait) -> None:
    """Waits until every worker answers."""
    ask = "print(json.dumps(sorted(app.control.inspect(timeout=2).ping() or {})))"
    # Beat answers, too.
    wait_until(lambda: {node.partition("@")[0] for node in project(host, ask)} >= set(WORKERS), timeout=90)


def test_only_this_host_reaches_it(host: Host, host_name: str) -> None:
    """AMQP, over TLS alone where that is on, the management API, and Erlang's own two ports."""
    listening = host.check_output("ss -Hltn").splitlines()
    addresses = {line.split()[3] for line in listening}
    known = ("4369", "5671", "5672", "15672", "25672")
    ports = {address for address in addresses if address.rpartition(":")[2] in known}
    amqp = "5671" if host_name in OVER_TLS else "5672"
    assert ports == {f"127.0.0.1:{port}" for port in ("4369", amqp, "15672", "25672")}


@over_tls
def test_every_program_reaches_it_by_tls(host: Host, wait_until: Wait, api: Callable[..., tuple[int, Any]]) -> None:
    """Workers, web, Beat, the watch and Flower; what is not encrypted is no AMQP here."""
    settled(host, wait_until)
    connections = api("admin", "GET", "connections")[1]
    assert len(connections) > len(WORKERS)
    assert {connection["ssl_protocol"] for connection in connections} <= {"tlsv1.2", "tlsv1.3"}
    clear = "import amqp; amqp.Connection('127.0.0.1:5671', 'a', 'b', connect_timeout=5, read_timeout=5).connect()"
    assert host.run(f'{PYTHON} -c "{clear}"').rc != 0


@over_tls
def test_a_server_that_cannot_show_who_it_is_gets_no_password(host: Host) -> None:
    """Neither RabbitMQ by another name, nor by another authority, and that is what the application's own settings ask for."""
    asked = "import json; from config.celery import app; print(json.dumps(app.conf.broker_use_ssl['server_hostname']))"
    assert project(host, asked) == TLS_NAME
    connect = (
        "from config.celery import app\nimport json, ssl\n{}\ntry:\n    app.connection_for_write().connect()\n    print(json.dumps('connected'))"
        "\nexcept ssl.SSLCertVerificationError as error:\n    print(json.dumps(error.verify_message))"
    )
    assert project(host, connect.format("")) == "connected"
    other_name = connect.format("app.conf.broker_use_ssl['server_hostname'] = 'redis.stockpot.internal'")
    assert "Hostname mismatch" in project(host, other_name)
    other_authority = connect.format("app.conf.broker_use_ssl['ca_certs'] = '/etc/ssl/certs/ca-certificates.crt'")
    assert project(host, other_authority) == "unable to get local issuer certificate"


@over_tls
def test_a_certificate_is_renewed_while_all_goes_on(host: Host, shop: Shop, wait_until: Wait) -> None:
    """The timer's unit does it, and RabbitMQ shows the new one to the next who comes, without a restart."""
    shown = f"openssl s_client -connect 127.0.0.1:5671 -CAfile {CERTIFICATE.rpartition('/')[0]}/authority.pem -verify_return_error"
    shown += f" -verify_hostname {TLS_NAME} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    written = f"openssl x509 -noout -serial -in {CERTIFICATE}"
    folder = CERTIFICATE.rpartition("/")[0]
    main = host.check_output("systemctl show -P MainPID rabbitmq-server")
    host.check_output(
        f'rm -rf /root/short && cp -a {folder} /root/short && sed -i \'s/"days": 30/"days": 5/\' /root/short/services.json'
        f" && /usr/local/lib/stockpot/certificates.py /root/short make rabbitmq {CERTIFICATE}; rm -r /root/short"
    )
    before = host.check_output(written)
    host.check_output("systemctl reload rabbitmq-server")
    assert host.check_output(shown) == before
    host.check_output("systemctl start stockpot-certificates.service")
    assert host.check_output(written) != before
    assert host.check_output(shown) == host.check_output(written)
    assert host.check_output("systemctl show -P MainPID rabbitmq-server") == main
    assert host.check_output(f"stat --format=%s {CERTIFICATE}", "%a %U %G") == "640 root rabbitmq"
    order = shop.order()
    assert wait_until(lambda: shop.state(order) == "paid")


def test_each_user_may_do_its_part_by_amqp(amqp: Callable[..., str]) -> None:
    """Nobody without a password, guest not at all, each in the application's virtual host alone."""
    assert amqp("celery", queue="a-queue") == "allowed"
    assert amqp("celery", vhost="/").startswith("NotAllowed")
    assert amqp("monitoring", queue="a-queue").startswith("AccessRefused")
    assert amqp("celery", password="wrong").startswith("AccessRefused")
    assert amqp("guest", name="guest").startswith("AccessRefused")


def test_each_user_may_do_its_part_in_the_management_api(api: Callable[..., tuple[int, Any]]) -> None:
    """One looks at queues, one administrates, the workers' has no business there."""
    assert api("guest", "GET", "overview")[0] == 401
    assert api("celery", "GET", "overview")[0] == 401
    status, queues = api("monitoring", "GET", "queues/stockpot")
    assert (status, "critical" in {queue["name"] for queue in queues}) == (200, True)
    for method, path, body in (
        ("GET", "users", None),
        ("PUT", "queues/stockpot/mine", {"durable": True}),
        ("DELETE", "queues/stockpot/critical/contents", None),
        ("GET", "definitions", None),
    ):
        assert api("monitoring", method, path, body)[0] in (401, 403), path
    assert {user["name"] for user in api("admin", "GET", "users")[1]} == {f"stockpot-{user}" for user in USERS}


def test_what_is_queued_is_on_the_disk_before_it_counts_as_sent(api: Callable[..., tuple[int, Any]]) -> None:
    """Quorum queues, with a limit to how often a message may come back, and a place for what goes over it."""
    queues = {queue["name"]: queue for queue in api("admin", "GET", "queues/stockpot")[1] if queue["durable"]}
    assert set(queues) >= {"critical", "reports", "dead-letters"}
    assert {queue["type"] for queue in queues.values()} == {"quorum"}
    assert queues["critical"]["effective_policy_definition"]["delivery-limit"] == 100
    assert queues["critical"]["effective_policy_definition"]["dead-letter-routing-key"] == "dead-letters"


def test_no_password_is_on_the_disk(host: Host, typed: Callable[..., str], passwords: dict[str, str]) -> None:
    """But that of the workers, in the application's own environment."""
    places = ("/etc/rabbitmq", "/etc/systemd", "/var/lib/rabbitmq", "/var/log", "/run/systemd", "/root", "/tmp")
    text = "\n".join(passwords.values()) + "\n"
    assert typed(text, "sh", "-c", f"grep -rlF -f - {' '.join(places)}; test $? -eq 1") == ""


def test_an_order_is_paid_and_a_countdown_waits_in_rabbitmq(
    host: Host, shop: Shop, wait_until: Wait, api: Callable[..., tuple[int, Any]]
) -> None:
    """Not in a worker, which would hold it without acknowledging it."""
    order = shop.order()
    assert wait_until(lambda: shop.state(order) == "paid")
    send = "app.send_task('celery.accumulate', args=['late'], kwargs={'index': 0}, queue='critical', countdown=%d)"
    assert project(host, f"print(json.dumps({send % 2}.get(timeout=30)))") == "late"
    project(host, f"{send % 3600}; print(json.dumps(''))")
    # By the countdown's highest bit: 2048 seconds.
    wait_until(lambda: api("admin", "GET", f"queues/stockpot/{DELAYED}")[1].get("messages"))
    assert api("admin", "DELETE", f"queues/stockpot/{DELAYED}/contents")[0] == 204


def test_what_waits_for_workers_outlives_a_killed_rabbitmq(host: Host, shop: Shop, wait_until: Wait) -> None:
    """Neither lost nor done twice; workers, web and Beat come back by themselves."""
    before = managed.main_pids(host, UNITS[1:])
    managed.control(host, "stop", ["stockpot-worker-critical"])
    orders = [shop.order() for _ in range(3)]
    main = host.check_output("systemctl show -P MainPID rabbitmq-server")
    host.check_output("systemctl kill -s KILL rabbitmq-server")
    wait_until(lambda: host.check_output("systemctl show -P MainPID rabbitmq-server") not in ("0", main))
    assert wait_until(lambda: shop.get("/readyz").status_code == 200, timeout=90)
    assert {shop.state(order) for order in orders} == {"pending"}
    managed.control(host, "start", ["stockpot-worker-critical"])
    for order in orders:
        assert wait_until(lambda order=order: shop.state(order) == "paid", timeout=90)
    settled(host, wait_until)
    assert managed.main_pids(host, UNITS[1:]) == before


def test_a_rabbitmq_without_memory_keeps_nobody_waiting(host: Host, shop: Shop, wait_until: Wait) -> None:
    """A page is answered, an order is taken and not sent; with memory again all goes on, and no worker was ended."""
    before = managed.main_pids(host, UNITS)
    limit = host.check_output("grep -oP 'vm_memory_high_watermark.absolute = \\K.*' /etc/rabbitmq/rabbitmq.conf")
    host.check_output("rabbitmqctl --quiet set_vm_memory_high_watermark absolute 1")
    try:
        # An answer of 503 is no true value.
        (refused,) = wait_until(lambda: [answer] if (answer := shop.get("/readyz")).status_code == 503 else [])
        order = shop.order()
        assert shop.state(order) == "pending"
    finally:
        host.check_output(f"rabbitmqctl --quiet set_vm_memory_high_watermark absolute {limit}")
    assert refused.json()["broker"] != "ok"
    assert wait_until(lambda: shop.get("/readyz").status_code == 200)
    order = shop.order()
    assert wait_until(lambda: shop.state(order) == "paid", timeout=90)
    settled(host, wait_until)
    assert managed.main_pids(host, UNITS) == before


def test_workers_whose_connections_are_cut_connect_again(
    host: Host, shop: Shop, wait_until: Wait, api: Callable[..., tuple[int, Any]]
) -> None:
    """All at once, as by a firewall."""
    before = managed.main_pids(host, UNITS)
    wait_until(lambda: api("admin", "GET", "connections")[1])
    host.check_output("rabbitmqctl --quiet close_all_connections --vhost stockpot cut")
    order = shop.order()
    assert wait_until(lambda: shop.state(order) == "paid", timeout=90)
    settled(host, wait_until)
    assert managed.main_pids(host, UNITS) == before


def test_the_watch_has_a_worker_consume_again_what_it_left(host: Host, wait_until: Wait) -> None:
    """It asks by RabbitMQ what a worker consumes, and tells it."""

    def told() -> int:
        said = host.run("journalctl --no-pager --output=cat --unit=stockpot-watch; cat /var/log/stockpot/watch.log")
        return said.stdout.count("did not consume sweep, which is its own: told it to")

    ask = "print(json.dumps([n for n in app.control.inspect(timeout=2).ping() or {} if n.startswith('sweep@')]))"
    node = wait_until(lambda: project(host, ask))
    before = told()
    cancel = f"app.control.cancel_consumer('sweep', destination={node!r}, reply=True, timeout=10)"
    answer = {node[0]: {"ok": "no longer consuming from sweep"}}
    assert project(host, f"print(json.dumps({cancel}))") == [answer]
    wait_until(lambda: told() > before, timeout=120)
    consumed = f"print(json.dumps([q['name'] for q in app.control.inspect({node!r}, timeout=10).active_queues()[{node[0]!r}]]))"
    assert wait_until(lambda: project(host, consumed) == ["sweep"], timeout=120)


def test_what_is_urgent_overtakes_what_waits(host: Host, wait_until: Wait) -> None:
    """Two queues of one worker, from which it takes in turn: as with Redis, and by no number."""
    managed.control(host, "stop", ["stockpot-worker-reports"])
    send = "app.send_task('celery.accumulate', args=[%s], kwargs={'index': 0}, queue='%s').id"
    slow = f"[{send % ('number', 'low-priority')} for number in range(10)]"
    ids = project(host, f"print(json.dumps({slow} + [{send % (99, 'reports')}]))")
    managed.control(host, "start", ["stockpot-worker-reports"])
    done = f"found = [app.AsyncResult(i) for i in {ids!r}]\nprint(json.dumps([str(r.date_done) for r in found if r.ready()]))"
    finished = wait_until(lambda: dates if len(dates := project(host, done)) == len(ids) else None, timeout=90)
    assert sorted(finished).index(finished[-1]) <= 2


def test_flower_knows_how_much_waits(host: Host, wait_until: Wait, typed: Callable[..., str]) -> None:
    """By the user that may look and no more, on loopback."""
    environment = host.check_output("cat /etc/stockpot/flower.environment")
    told = dict(line.split("=", 1) for line in environment.splitlines() if "=" in line)
    assert "stockpot-monitoring:" in told["FLOWER_BROKER_API"]
    words = ("python3", "-c", HTTP, "GET", "http://127.0.0.1:5555/flower/api/queues/length", "null")

    def queues() -> set[str]:
        _, said = json.loads(typed(told["FLOWER_BASIC_AUTH"].strip('"') + "\n", *words))
        return {queue["name"] for queue in said["active_queues"]}

    assert wait_until(lambda: queues() >= {"critical", "sweep"})


def test_workers_are_drained_and_restarted(
    host: Host, host_name: str, shop: Shop, converge_again: Callable[..., Any]
) -> None:
    """As an operator does before work on a server."""
    for action in ("drain", "restart"):
        run = converge_again("-e", "workers=critical", limit=host_name, playbook=f"../../playbooks/{action}.yml")
        assert run.returncode == 0, run.stdout


def test_what_was_changed_by_hand_is_named_or_taken_back(
    host: Host,
    host_name: str,
    converge_again: Callable[..., Any],
    amqp: Callable[..., str],
    api: Callable[..., tuple[int, Any]],
    wait_until: Wait,
) -> None:
    """A limit is named; a user that nobody gave the application goes out of its virtual host."""

    def memory(limit: str) -> bool:
        """RabbitMQ tells others of a limit some seconds after it holds."""
        return str(api("admin", "GET", "nodes")[1][0]["mem_limit"]) == limit

    limit = host.check_output("grep -oP 'vm_memory_high_watermark.absolute = \\K.*' /etc/rabbitmq/rabbitmq.conf")
    host.check_output("rabbitmqctl --quiet set_vm_memory_high_watermark absolute 400MB")
    assert wait_until(lambda: memory("400000000"))
    named = converge_again(limit=host_name, playbook="role.yml")
    host.check_output(f"rabbitmqctl --quiet set_vm_memory_high_watermark absolute {limit}")
    assert wait_until(lambda: memory(limit))
    assert named.returncode != 0
    assert f"mem_limit is 400000000, not {limit}" in " ".join(named.stdout.split())
    host.check_output("rabbitmqctl --quiet add_user guest guest")
    host.check_output("rabbitmqctl --quiet set_permissions --vhost stockpot guest '.*' '.*' '.*'")
    assert amqp("guest", name="guest") == "allowed"
    assert converge_again(limit=host_name, playbook="role.yml").returncode == 0
    assert amqp("guest", name="guest").startswith("AccessRefused")


def test_a_new_password_takes_effect_and_the_old_one_is_dead(
    host: Host, host_name: str, converge_again: Callable[..., Any], amqp: Callable[..., str], passwords: dict[str, str]
) -> None:
    """Also that of the administrator, whom nobody can ask then; nothing restarts for it, and the run shows neither."""
    main = host.check_output("systemctl show -P MainPID rabbitmq-server")
    new = {
        f"vault_rabbitmq_{user}_password": f"another {user} password, long enough" for user in ("admin", "monitoring")
    }
    run = converge_again("-e", json.dumps(new), limit=host_name, playbook="role.yml")
    assert run.returncode == 0, run.stdout
    assert not [password for password in (*new.values(), *passwords.values()) if password in run.stdout]
    assert amqp("monitoring").startswith("AccessRefused")
    assert converge_again(limit=host_name, playbook="role.yml").returncode == 0
    assert amqp("monitoring") == "allowed"
    assert host.check_output("systemctl show -P MainPID rabbitmq-server") == main


def test_another_application_comes_and_goes_beside_this_one(
    host: Host, host_name: str, converge_again: Callable[..., Any], api: Callable[..., tuple[int, Any]]
) -> None:
    """What it has queued goes when that is said, long after its users; RabbitMQ goes on for the one that is left."""
    blog = {"rabbitmq_application": "blog"}
    users = {f"blog-{user}" for user in USERS}

    def take_away(**more: Any) -> str:
        run = converge_again("-e", json.dumps({**blog, **more}), limit=host_name, playbook="absent.yml")
        assert run.returncode == 0, run.stdout
        return next(line for line in run.stdout.splitlines() if line.startswith(f"{host_name} "))

    def names(what: str) -> set[str]:
        return {entry["name"] for entry in api("admin", "GET", what)[1]}

    joined = converge_again("-e", json.dumps(blog), limit=host_name, playbook="role.yml")
    assert joined.returncode == 0, joined.stdout
    main = host.check_output("systemctl show -P MainPID rabbitmq-server")
    assert users <= names("users")
    assert "changed=0" not in take_away()
    assert not users & names("users")
    assert "blog" in names("vhosts")
    assert "changed=0" in take_away()
    assert "changed=0" not in take_away(app_state_remove_data=True)
    assert "blog" not in names("vhosts")
    assert not users & names("users")
    assert "changed=0" in take_away(app_state_remove_data=True)
    assert "blog" not in host.check_output("ls /etc/rabbitmq/conf.d /etc/systemd/system/rabbitmq-server.service.d")
    assert converge_again(limit=host_name, playbook="role.yml").returncode == 0
    assert host.check_output("systemctl show -P MainPID rabbitmq-server") == main


def test_a_mistake_is_refused_before_any_change(host_name: str, converge_again: Callable[..., Any]) -> None:
    """Each with its variable."""
    bad = {
        "rabbitmq_settings": {"consumer_timeout": 1},
        "rabbitmq_memory": "much",
        "vault_rabbitmq_celery_password": "",
    }
    run = converge_again("-e", json.dumps(bad), limit=host_name, playbook="../../playbooks/preflight.yml")
    said = " ".join(run.stdout.split())
    assert run.returncode != 0
    assert "rabbitmq_settings: consumer_timeout belongs to the role" in said
    assert "rabbitmq_memory: bytes, or a number" in said
    assert "vault_rabbitmq_celery_password is missing" in said


@pytest.mark.on("rabbitmq-bookworm")
def test_redis_is_the_broker_again_and_rabbitmq_comes_back_with_what_it_had(
    host: Host, host_name: str, shop: Shop, converge_again: Callable[..., Any], wait_until: Wait
) -> None:
    """It stops when the application does without it, and not before."""

    def works() -> bool:
        order = shop.order()
        return bool(wait_until(lambda: shop.state(order) == "paid"))

    back = converge_again("-e", "celery_broker=redis", limit=host_name)
    assert back.returncode == 0, back.stdout
    assert not host.service("rabbitmq-server").is_running
    assert not host.service("rabbitmq-server").is_enabled
    assert host.file("/var/lib/rabbitmq/mnesia/rabbit@localhost").is_directory
    assert works()
    again = converge_again(limit=host_name)
    assert again.returncode == 0, again.stdout
    assert host.service("rabbitmq-server").is_running
    assert works()


def test_it_is_taken_away_and_comes_back_with_what_waits(
    host: Host, host_name: str, shop: Shop, converge_again: Callable[..., Any], wait_until: Wait
) -> None:
    """Stopped with its last application, and with its data when that is said."""
    absent = {"app_state": "absent"}
    first, second = (converge_again("-e", json.dumps(absent), limit=host_name) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stdout + second.stdout
    assert f"{host_name}" in second.stdout
    assert "changed=0" in next(line for line in second.stdout.splitlines() if line.startswith(f"{host_name} "))
    assert not host.service("rabbitmq-server").is_running
    assert not host.service("rabbitmq-server").is_enabled
    gone = converge_again("-e", json.dumps({**absent, "app_state_remove_data": True}), limit=host_name)
    assert gone.returncode == 0, gone.stdout
    assert host.run("ls -d /var/lib/rabbitmq/mnesia /etc/rabbitmq/conf.d/stockpot.conf").stdout == ""
