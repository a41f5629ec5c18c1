"""``guiderail incidents`` and ``explain`` as commands: what they print, refuse and change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from guiderail.errors import RejectedRequestError
from guiderail.model.finding import Subject
from guiderail.model.incident import IncidentState
from guiderail.model.outcome import Direction, Reason
from guiderail.model.policy import Effect, Policy, RunsNeeded
from guiderail_cli import explain_command, incident_commands
from guiderail_cli.incident_commands import matched_labels, short_ids, silence_until
from hypothesis import given
from hypothesis import strategies as st

from tests import builders as b
from tests.commands import Guiderail, Ran, command
from tests.unit.test_explaining import AMOUNT, START, World, rule

CRITICAL = b.finding(
    check="completeness_check", subject=Subject(feature="income"), direction=Direction.BELOW
)


@pytest.fixture
def world() -> World:
    """Two open incidents, an error above a warning."""
    world = World(Policy(rules=(rule("owned", 4, Effect(owner="risk"), feature=["amount"]),)))
    world.hour(AMOUNT, CRITICAL)
    return world


@pytest.fixture
def guiderail(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Guiderail:
    """Run the command in this process, on the world's stores."""
    for module in (incident_commands, explain_command):
        monkeypatch.setattr(module, "connect", lambda *_: world.acts())
        monkeypatch.setattr(module, "connect_outbox", lambda *_: world.store)

    return command(monkeypatch, capsys)


def state(world: World, key: str) -> IncidentState:
    (ledger,) = (led for led in world.store.ledgers.values() if key in led.incidents)
    return ledger.incidents[key].state


def refused(ran: Ran, *words: str) -> bool:
    return ran.code == 3 and ran.err.count("\n") == 1 and all(word in ran.err for word in words)


# --- list


def test_list_shows_the_worst_first(guiderail: Guiderail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    ran = guiderail("incidents", "list")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.index("error") < ran.out.index("warning")
    assert "2 incidents" in ran.out
    assert "0.31 (0.1)" in ran.out and "1 min ago" in ran.out


def test_list_as_json_holds_what_a_script_needs(guiderail: Guiderail, world: World) -> None:
    listed = guiderail("incidents", "list", "--json").document["incidents"]

    assert [i["severity"] for i in listed] == ["error", "warning"]
    assert listed[1]["id"] == world.only()
    for field, value in {
        "endpoint": b.ENDPOINT,
        "account": b.ACCOUNT,
        "state": "open",
        "reason": "first_seen",
        "owner": "risk",
        "observed": 0.31,
        "threshold": 0.1,
        "runs": "x",
        "times_seen": 1,
    }.items():
        assert listed[1][field] == value, field
    assert listed[1]["meaning"] == "This opened the incident."


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--endpoint", "loan-*"), 2),
        (("--endpoint", "fraud-*"), 0),
        (("--owner", "risk"), 1),
        (("--owner", "*"), 1),
        (("--severity", "error"), 1),
        (("--severity", "error", "--severity", "warning"), 2),
        (("--severity", "info"), 0),
        (("--state", "acknowledged"), 0),
        (("--state", "open", "--owner", "r?sk"), 1),
    ],
)
def test_list_filters(guiderail: Guiderail, options: tuple[str, ...], count: int) -> None:
    assert len(guiderail("incidents", "list", *options, "--json").document["incidents"]) == count


def test_list_leaves_out_pending_and_resolved_ones_unless_asked(
    guiderail: Guiderail, world: World
) -> None:
    waiting = Effect(runs_needed=RunsNeeded(2, 2))
    world.in_force.policy = Policy(rules=(rule("twice", 1, waiting, feature=["age"]),))
    world.acts().resolve(world.only(), "ana")
    world.hour(CRITICAL, b.finding(subject=Subject(feature="age")))

    states = [i["state"] for i in guiderail("incidents", "list", "--json").document["incidents"]]
    every = guiderail("incidents", "list", "--all", "--json").document["incidents"]

    assert states == ["open"]
    assert sorted(i["state"] for i in every) == ["open", "pending", "resolved"]


def test_an_empty_list_says_so(guiderail: Guiderail) -> None:
    assert guiderail("incidents", "list", "--endpoint", "nobody").out == "no incidents\n"


def test_a_wrong_state_is_wrong_use(guiderail: Guiderail) -> None:
    assert refused(guiderail("incidents", "list", "--state", "closed"), "closed")


def test_the_table_takes_hostile_names(guiderail: Guiderail, world: World) -> None:
    world.hour(b.finding(subject=Subject(feature="[bold]\x1b[2J" + "n" * 256)))

    ran = guiderail("incidents", "list")

    assert ran.code == 0 and "\x1b" not in ran.out


def test_numbers_that_json_lacks_are_null(guiderail: Guiderail, world: World) -> None:
    endless = b.finding(subject=Subject(feature="ratio"), observed=float("inf"), distance=None)
    world.hour(endless)

    listed = guiderail("incidents", "list", "--json").document["incidents"]

    assert [i["observed"] for i in listed if i["subject"].get("feature") == "ratio"] == [None]


# --- show and ids


def test_show_as_text_and_as_json(guiderail: Guiderail, world: World) -> None:
    key = world.only()

    assert guiderail("incidents", "show", key, "--json").document["id"] == key
    text = guiderail("incidents", "show", key[-16:-8]).out
    assert f"id: {key}\n" in text and "owner: risk\n" in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("abc", ("too short", "at least 6")),
        ("ffffffff", ("no incident", "guiderail incidents list --all")),
        ("f" * 20 + "-" + "0" * 16, ("no incident",)),
    ],
)
def test_ids_that_lead_nowhere(guiderail: Guiderail, name: str, words: tuple[str, ...]) -> None:
    assert refused(guiderail("incidents", "show", name), *words)


def test_an_ambiguous_id_lists_the_candidates(guiderail: Guiderail, world: World) -> None:
    ran = guiderail("incidents", "show", world.only()[:20])

    assert refused(ran, world.only(), world.only("completeness_check"), "amount", "income")


def test_a_resolved_incident_is_found_by_its_whole_id(guiderail: Guiderail, world: World) -> None:
    for key in (world.only(), world.only("completeness_check")):
        world.acts().resolve(key, "ana")

    assert guiderail("incidents", "show", world.only()).code == 0
    assert refused(guiderail("incidents", "show", world.only()[-16:]), "whole id")


@given(st.lists(st.text("0123456789abcdef", min_size=16, max_size=16), min_size=1, unique=True))
def test_short_ids_tell_incidents_apart(tails: list[str]) -> None:
    ids = [f"{'a' * 20}-{tail}" for tail in tails]

    short = short_ids(ids)

    for key, text in short.items():
        assert len(text) >= 8
        assert [i for i in ids if i.partition("-")[2].startswith(text)] == [key]


def test_ids_with_the_same_second_half_are_shown_whole() -> None:
    ids = [f"{'a' * 20}-{'1' * 16}", f"{'b' * 20}-{'1' * 16}"]

    assert short_ids(ids) == {key: key for key in ids}


# --- ack and resolve


def test_ack_acknowledges_and_keeps_who_whence_and_why(guiderail: Guiderail, world: World) -> None:
    ran = guiderail("incidents", "ack", world.only(), "--by", "ana", "--comment", "on it")

    assert (ran.code, ran.err) == (0, "")
    assert "open -> acknowledged" in ran.out
    assert state(world, world.only()) is IncidentState.ACKNOWLEDGED
    newest = world.store.audit(world.only()[:20], 1)[0]
    assert (newest.actor, newest.origin.partition("@")[0]) == ("ana", "cli")
    assert newest.decisions[0].text == "on it"


def test_ack_again_has_nothing_to_do(guiderail: Guiderail, world: World) -> None:
    guiderail("incidents", "ack", world.only(), "--by", "ana")
    entries = len(world.store.audit_rows)

    ran = guiderail("incidents", "ack", world.only(), "--by", "ben")

    assert ran.code == 0 and "is acknowledged already" in ran.out
    assert len(world.store.audit_rows) == entries


def test_an_acknowledgement_is_withdrawn(guiderail: Guiderail, world: World) -> None:
    guiderail("incidents", "ack", world.only(), "--by", "ana")

    ran = guiderail("incidents", "ack", world.only(), "--withdraw", "--by", "ana", "--json")

    (done,) = ran.document["incidents"]
    assert (done["before"], done["after"], done["changed"]) == ("acknowledged", "open", True)
    assert state(world, world.only()) is IncidentState.OPEN


def test_resolve_ends_incidents(guiderail: Guiderail, world: World) -> None:
    keys = (world.only(), world.only("completeness_check"))

    ran = guiderail("incidents", "resolve", *keys, "--by", "ana", "--json")

    assert [d["after"] for d in ran.document["incidents"]] == ["resolved", "resolved"]
    assert {state(world, key) for key in keys} == {IncidentState.RESOLVED}


@pytest.mark.parametrize("command", ["ack", "resolve"])
def test_a_dry_run_shows_the_change_and_changes_nothing(
    guiderail: Guiderail, world: World, command: str
) -> None:
    before = dict(world.store.audit_rows), dict(world.store.ledgers)

    ran = guiderail("incidents", command, world.only(), "--by", "ana", "--dry-run")

    assert ran.code == 0 and "open, would become" in ran.out
    assert (world.store.audit_rows, world.store.ledgers) == before


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_what_the_state_forbids_is_refused_and_the_rest_is_done(
    guiderail: Guiderail, world: World, dry: tuple[str, ...]
) -> None:
    world.acts().resolve(world.only(), "ana")
    other = world.only("completeness_check")

    ran = guiderail("incidents", "ack", world.only(), other, "--by", "ana", *dry)

    assert refused(ran, "is resolved", world.only())
    assert other in ran.out
    assert (state(world, other) is IncidentState.ACKNOWLEDGED) is (not dry)


def test_an_id_given_twice_is_done_once(guiderail: Guiderail, world: World) -> None:
    ran = guiderail("incidents", "ack", world.only(), world.only(), "--by", "ana", "--json")

    assert len(ran.document["incidents"]) == 1


def test_nobody_acts(guiderail: Guiderail, world: World) -> None:
    assert refused(guiderail("incidents", "ack", world.only(), "--by", " "), "--by is empty")


# --- silences


def test_a_silence_is_set_listed_and_ended(guiderail: Guiderail, world: World) -> None:
    options = ("--match", "endpoint=loan-*", "--match", "feature=amount", "--comment", "load test")
    ran = guiderail("incidents", "silence", *options, "--for", "2h", "--by", "ana", "--json")

    assert ran.code == 0
    made = ran.document
    assert made["incidents"] == [world.only()]
    assert made["match"] == {"endpoint": "loan-*", "feature": "amount"}
    assert datetime.fromisoformat(made["ends_at"]) == world.now + timedelta(hours=2)
    (listed,) = guiderail("incidents", "silence", "list", "--json").document["silences"]
    assert (listed["id"], listed["author"], listed["comment"]) == (made["id"], "ana", "load test")
    assert "in 2 h" in guiderail("incidents", "silence", "list").out

    digits = made["id"].partition("-")[2]
    ended = guiderail("incidents", "silence", "end", digits[:6], "--by", "ben")

    assert ended.code == 0 and "active -> ended" in ended.out
    assert guiderail("incidents", "silence", "list").out == "no silences\n"


def test_a_silence_holds_back_what_it_matches(guiderail: Guiderail, world: World) -> None:
    options = ("--match", "feature=amount", "--until", "2026-11-23T12:00:00Z", "--by", "ana")

    assert guiderail("incidents", "silence", *options).code == 0
    world.hour(b.finding(subject=AMOUNT.subject, observed=0.9, distance=0.8), CRITICAL)

    (group,) = world.store.groups.values()
    assert group.held[world.only()].hidden is Reason.SILENCED


def test_a_dry_run_sets_and_ends_no_silence(guiderail: Guiderail, world: World) -> None:
    match = ("--match", "feature=amount", "--for", "2h", "--by", "ana")
    ran = guiderail("incidents", "silence", *match, "--dry-run")

    assert ran.code == 0 and "would be set" in ran.out and world.only() in ran.out
    assert world.store.kept_silences == {}

    made = guiderail("incidents", "silence", *match, "--json").document["id"]
    assert guiderail("incidents", "silence", "end", made, "--by", "a", "--dry-run").code == 0
    assert len(world.store.silences(world.now)) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(("--for", "2h"), ("needs a match", "--match"), id="no match"),
        pytest.param(("--match", "endpoint", "--for", "2h"), ("key=glob",), id="no glob"),
        pytest.param(("--match", "endpoint=", "--for", "2h"), ("key=glob",), id="empty glob"),
        pytest.param(
            ("--match", "endpiont=x", "--for", "2h"), ("endpiont", "Keys are account"), id="unknown"
        ),
        pytest.param(
            ("--match", "endpoint=a", "--match", "endpoint=b", "--for", "2h"),
            ("twice",),
            id="twice",
        ),
        pytest.param(
            ("--match", f"feature={'a*' * 200}", "--for", "2h"), ("400 characters",), id="long glob"
        ),
        pytest.param(("--match", "endpoint=a"), ("--for", "--until"), id="no end"),
        pytest.param(
            ("--match", "endpoint=a", "--for", "2h", "--until", "2026-12-24T08:00:00Z"),
            ("either",),
            id="two ends",
        ),
        pytest.param(
            ("--match", "endpoint=a", "--until", "2020-01-01T00:00:00Z"),
            ("not in the future",),
            id="past",
        ),
        pytest.param(
            ("--match", "endpoint=a", "--until", "2026-12-24T08:00:00"), ("no zone",), id="no zone"
        ),
        pytest.param(("--match", "endpoint=a", "--until", "soon"), ("no time",), id="no time"),
        pytest.param(("--match", "endpoint=a", "--for", "0s"), ("not in the future",), id="zero"),
        pytest.param(("--match", "endpoint=a", "--for", "2x"), ("2h",), id="unit"),
        pytest.param(("--match", "endpoint=a", "--for=-2h"), ("2h",), id="negative"),
        pytest.param(("--match", "endpoint=a", "--for", "٢h"), ("2h",), id="other digits"),
        pytest.param(
            ("--match", "endpoint=a", "--for", "366d"),
            ("longer than 365 days", "policy"),
            id="year",
        ),
        pytest.param(
            ("--match", "endpoint=a", "--for", "999999999w"), ("longer than 365",), id="aeons"
        ),
    ],
)
def test_silences_that_are_refused(
    guiderail: Guiderail, world: World, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert refused(guiderail("incidents", "silence", *options, "--by", "ana"), *words)
    assert world.store.kept_silences == {}


def test_labels_of_the_policy_can_be_matched() -> None:
    policy = Policy(rules=(rule("team", 1, Effect(labels={"team": "loans"})),))

    assert matched_labels(["team=loan*"], policy) == {"team": "loan*"}
    with pytest.raises(RejectedRequestError, match="labels of the policy are team"):
        matched_labels(["taem=x"], policy)


@pytest.mark.parametrize("options", [("--match", "endpoint=a"), ("--json",), ("--dry-run",)])
def test_options_before_a_command_are_not_lost_in_silence(
    guiderail: Guiderail, options: tuple[str, ...]
) -> None:
    ran = guiderail("incidents", "silence", *options, "list")

    assert refused(ran, "options stand before list", "after list")


@pytest.mark.parametrize(
    ("name", "words"),
    [("5d2", ("too short",)), ("silence-ffff", ("silence list",)), ("silence", ("More",))],
)
def test_silences_that_lead_nowhere(
    guiderail: Guiderail, world: World, name: str, words: tuple[str, ...]
) -> None:
    for hours in (1, 2):
        world.acts().silence({"endpoint": "x"}, world.now + timedelta(hours=hours), "ana")

    ran = guiderail("incidents", "silence", "end", name, "--by", "ana")

    assert ran.code == 3
    assert all(word.lower() in ran.err.lower() for word in words)


@given(st.integers(0, 8), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_lengths_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    end = silence_until(f"{days}d{hours}h{minutes}m{seconds}s", None, START)

    assert end - START == timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


@given(st.datetimes(datetime(2026, 11, 24), datetime(2027, 11, 23), timezones=st.just(UTC)))
def test_a_time_with_its_zone_is_taken_as_it_is(end: datetime) -> None:
    assert silence_until(None, end.isoformat(), START) == end


# --- explain


def test_explain_prints_a_story_and_the_same_as_json(guiderail: Guiderail, world: World) -> None:
    key = world.only()

    text = guiderail("explain", key)
    document = guiderail("explain", key, "--json").document

    assert text.code == 0
    assert (document["kind"], document["id"]) == ("incident", key)
    facts = [fact for section in document["sections"] for fact in section["facts"]]
    assert facts and all(fact["text"] in text.out for fact in facts)
    codes = [fact["reason"] for fact in facts if "reason" in fact]
    assert "first_seen" in codes and all(code in text.out for code in codes)


def test_explain_takes_the_name_of_a_job(
    guiderail: Guiderail, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = world.hour(AMOUNT)
    asked = []

    def job_arn(name: str) -> str:
        asked.append(name)
        return arn

    monkeypatch.setattr(explain_command, "_job_arn", job_arn)
    name = arn.rpartition("/")[2]

    assert f"run {name}" in guiderail("explain", name).out
    assert asked == [name]


@pytest.mark.parametrize("name", ["", " ", "abc", "silence-", "\N{SNOWMAN}" * 300, "-" * 40])
def test_explain_refuses_what_names_nothing(
    guiderail: Guiderail, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain_command, "_job_arn", lambda job: f"arn:aws:sagemaker:::{job}")

    ran = guiderail("explain", "--", name)

    assert (ran.code, ran.out) == (3, "") and ran.err.count("\n") == 1


def test_explain_fails_loudly_with_what_to_try(guiderail: Guiderail) -> None:
    ran = guiderail("explain", f"{b.ARN}:processing-job/nobody")

    assert refused(ran, "nothing is known", "guiderail incidents list --all")


# --- help


@pytest.mark.parametrize(
    "command",
    [
        ("incidents", "list"),
        ("incidents", "show"),
        ("incidents", "ack"),
        ("incidents", "resolve"),
        ("incidents", "silence"),
        ("incidents", "silence", "list"),
        ("incidents", "silence", "end"),
        ("explain",),
    ],
    ids=" ".join,
)
def test_every_command_has_help_with_an_example(
    guiderail: Guiderail, command: tuple[str, ...]
) -> None:
    ran = guiderail(*command, "--help")

    assert ran.code == 0
    assert f"Example: guiderail {' '.join(command)}" in " ".join(ran.out.split())
