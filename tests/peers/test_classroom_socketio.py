"""The classroom on Socket.IO: with the published client in Node, and its page in Chromium, which uses that client too.

A picture of it is saved in `target/browser`.
"""

import time

import pytest
from classroom import Page, check_parts, printed_links, windows
from harness import PACKAGES, ROOT, Program, free_port
from peers import node
from test_browser import browsers  # noqa: F401, a fixture

EXAMPLE = ROOT / "examples" / "classroom-socketio"
CLIENT = ROOT / "tests" / "peers" / "node_modules" / "socket.io-client"
SECRET = "0123456789abcdef0123456789abcdef"
RESTARTED = "The server was started again: it does not know what is above."
LOST = "Messages are missing here: the server does not keep them any longer."
REMOVED = "a teacher has removed you from the class"


class Server:
    """The program, which can be killed and started again at the same address."""

    def __init__(self, *options):
        self.port = free_port()
        self._command = [PACKAGES / "classroom-socketio", "--listen", f"127.0.0.1:{self.port}", *options]
        self.start()

    def start(self):
        self.program = Program(self._command)
        self.url = self.program.listening()
        self.links = printed_links(self.program)
        self.teacher, self.student = self.links["class, teacher"], self.links["class, student"]

    def kill(self):
        """Sends SIGKILL."""
        self.program.kill()

    def tokens(self):
        links = (self.teacher, self.student, self.links["admin"])
        return [link.partition("#token=")[2] for link in links]


class ChatPage(Page):
    def everything(self):
        """Returns the texts of the messages, and what is shown between them."""
        items = "#messages > .gap, #messages .text"
        return self.script(f"return [...document.querySelectorAll('{items}')].map((each) => each.textContent)")

    def set_network(self, is_there):
        """Takes the network away, or brings it back. The browser tells the page so."""
        self.driver.execute_cdp_cmd("Network.enable", {})
        limits = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": not is_there, **limits})

    def polls(self):
        """Returns the number of requests by long polling since the page was loaded."""
        names = self.script("return performance.getEntriesByType('resource').map((each) => each.name)")
        return len([name for name in names if "transport=polling" in name])


@pytest.fixture
def server():
    server = Server("--jwt-secret", SECRET)
    yield server
    server.kill()


@pytest.fixture
def open_page(browsers):  # noqa: F811
    with windows(browsers, ChatPage) as open_next:
        yield open_next


@pytest.fixture
def two(server, open_page):
    """A teacher and a student, who know of each other."""
    tess = open_page(server.teacher, "Tess")
    ann = open_page(server.student, "Ann")
    tess.wait_for_text("count", "(2)")
    return tess, ann


def test_client_of_the_page_is_the_published_one():
    published = (CLIENT / "dist" / "socket.io.min.js").read_bytes()
    vendored = EXAMPLE / "web" / "vendor"
    assert (vendored / "socket.io.min.js").read_bytes() == published
    assert (vendored / "socket.io.LICENSE").read_bytes() == (CLIENT / "LICENSE").read_bytes()


def test_parts_of_the_page():
    check_parts(EXAMPLE / "web")


@pytest.mark.parametrize("transports", ["polling", "websocket", "polling,websocket"])
@pytest.mark.parametrize("scenario", ["talk", "errors", "removed", "recovered", "administration", "tokens"])
def test_published_client_in_node(server, scenario, transports):
    with node("classroom_socketio.cjs", scenario, server.url.rstrip("/"), transports, *server.tokens()) as client:
        assert client.exit_code() == 0, client.errors()


def test_teacher_and_student_talk(two):
    tess, ann = two
    tess.say("Good morning")
    ann.expect("Good morning")
    ann.say("Good morning, Tess")
    for page in two:
        page.expect("Good morning", "Good morning, Tess")
    assert tess.heads() == ["Tess Teacher", "Ann"]
    classes = "return [...document.querySelectorAll('#messages > li')].map((each) => each.className)"
    assert ann.script(classes) == ["theirs teacher", "mine student"]
    assert ann.script("return document.querySelector('#messages > li.mine .status').textContent") == "Sent"
    assert "Good morning" in ann.element("spoken").get_property("textContent")
    assert ann.element("text").get_property("value") == ""


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=\"document.title = 'run'\">",
        "<script>document.title = 'run'</script>",
        '</li></ol><h1>run</h1> <b>bold</b> & "quoted" &amp;',
    ],
)
def test_markup_is_shown_as_text(two, text):
    tess, ann = two
    ann.say(text)
    for page in two:
        page.expect(text)
        assert page.script("return document.querySelectorAll('#messages :is(img, script, h1, b)').length") == 0
        assert page.driver.title == "class – Classroom"


def test_scripts_in_the_page_do_not_run(two):
    _, ann = two
    ann.driver.execute_async_script(
        "const script = document.createElement('script'); script.textContent = \"document.title = 'run'\";"
        "document.body.append(script);"
        "document.body.insertAdjacentHTML('beforeend', `<img src=/none onerror=\"document.title = 'run'\">`);"
        "document.body.lastElementChild.addEventListener('error', () => arguments[0]())"
    )
    assert ann.driver.title == "class – Classroom"
    reported = [message for message in ann.console_messages() if "Content Security Policy" in message]
    assert len(reported) == 2, reported


def test_participants_are_those_in_the_class(two):
    tess, ann = two
    tess.open_tab("participants")
    assert tess.participants() == ["Tess", "Ann"]
    ann.close()
    tess.wait_until(lambda: tess.participants() == ["Tess"], "that Ann has left")
    assert tess.element("count").text == "(1)"


def test_typing_is_shown_until_the_message_is_there(two):
    tess, ann = two
    ann.type("hel")
    tess.wait_for_text("typing", "Ann is typing…")
    ann.say("lo")
    tess.expect("hello")
    tess.wait_until(lambda: tess.element("typing").text == "", "nobody typing")


def test_private_message_is_seen_by_two(server, two, open_page):
    tess, ann = two
    bob = open_page(server.student, "Bob")
    ann.wait_until(lambda: ann.audiences() == ["Everyone", "Tess", "Bob"], "Bob as an audience")
    ann.choose("Tess")
    ann.say("secret")
    ann.expect("secret")
    assert ann.heads() == ["Ann to Tess, private"]
    tess.expect("secret")
    assert tess.heads() == ["Ann to you, private"]
    ann.choose("Everyone")
    ann.say("others")
    for page in two:
        page.expect("secret", "others")
    bob.expect("others")


def test_removed_student_is_out_for_good(server, two, open_page):
    tess, ann = two
    tess.open_tab("participants")
    tess.click("Remove Ann")
    ann.wait_for_text("end-reason", REMOVED)
    ann.wait_for_state("closed")
    tess.wait_for_text("count", "(1)")
    ann.click("Try again")
    ann.wait_for_text("end-reason", REMOVED)
    ann.wait_for_state("closed")
    # Another tab, with the link of the class and the same name.
    again = open_page(server.student)
    again.wait_until(lambda: again.element("name").is_displayed(), "the question for a name")
    again.element("name").send_keys(" ANN ")
    again.click("Enter")
    again.wait_for_text("end-reason", REMOVED)
    assert tess.participants() == ["Tess"]


def test_students_have_no_controls(two):
    _, ann = two
    ann.open_tab("participants")
    assert ann.participants() == ["Tess", "Ann"]
    assert ann.script("return document.querySelectorAll('#participants button').length") == 0


def test_name_of_another_person_is_refused(server, two, open_page):
    other = open_page(server.student)
    other.wait_until(lambda: other.element("name").is_displayed(), "the question for a name")
    other.element("name").send_keys("ann")
    other.click("Enter")
    other.wait_for_text("entrance-problem", "choose another one")
    other.element("name").clear()
    other.element("name").send_keys("Anna")
    other.click("Enter")
    other.wait_for_state("open")


def test_reloaded_page_is_the_same_person_with_the_history(two):
    tess, ann = two
    ann.say("one")
    tess.expect("one")
    ann.driver.refresh()
    ann.wait_for_state("open")
    ann.expect("one")
    assert ann.heads() == ["Ann"]
    tess.wait_for_text("count", "(2)")


def test_connection_is_lost_and_recovered(two):
    tess, ann = two
    ann.say("one")
    tess.expect("one")
    ann.set_network(False)
    ann.wait_for_state("reconnecting")
    tess.wait_for_text("count", "(1)")
    tess.say("two")
    ann.say("three")
    tess.expect("one", "two")
    ann.wait_until(lambda: ann.waiting() == ["three"], "that a message waits")
    ann.set_network(True)
    ann.wait_for_state("open")
    for page in two:
        page.expect("one", "two", "three")
    tess.wait_for_text("count", "(2)")
    assert ann.everything() == ann.messages(), "nothing is missing"


def test_server_is_killed_while_a_message_is_typed(server, two):
    tess, ann = two
    ann.say("one")
    tess.expect("one")
    ann.type("tw")
    server.kill()
    for page in two:
        page.wait_for_state("reconnecting")
    # What is written meanwhile waits, and so does what is only half written.
    ann.say("o")
    ann.say("three")
    tess.say("four")
    ann.wait_until(lambda: ann.waiting() == ["two", "three"], "that two messages wait")
    ann.type("fi")
    server.start()
    for page in two:
        page.wait_for_state("open")
        page.wait_until(lambda: page.waiting() == [], "that nothing waits")
    assert ann.element("text").get_property("value") == "fi"
    ann.say("ve")
    for page in two:
        page.wait_until(lambda: len(page.messages()) == 5, "five messages")
        assert page.everything()[:2] == ["one", RESTARTED]
    # The pages come back at different times, and each has what the other has sent before.
    assert sorted(tess.messages()) == sorted(ann.messages()) == sorted(["one", "two", "three", "four", "five"])
    for page in two:
        assert [text for text in page.messages() if text != "four"] == ["one", "two", "three", "five"]


def test_killed_again_and_again_each_message_is_there_once_in_order(server, two):
    tess, ann = two
    expected = []
    for kill in range(3):
        for number in range(5):
            expected.append(f"{kill}-{number}")
            ann.say(expected[-1])
            if number == 2:
                server.kill()
        server.start()
        for page in two:
            page.wait_for_state("open")
        ann.wait_until(lambda: ann.waiting() == [], "that nothing waits")
        ann.expect(*expected)
        tess.expect(*expected)


def test_links_end_with_a_program_that_has_no_secret(open_page):
    server = Server()
    try:
        ann = open_page(server.student, "Ann")
        server.kill()
        ann.wait_for_state("reconnecting")
        server.start()
        ann.wait_for_state("closed")
        ann.wait_for_text("end-reason", "the token is not valid")
    finally:
        server.kill()


def test_page_that_was_away_for_long_shows_that_messages_are_missing(open_page):
    options = ["--jwt-secret", SECRET, "--recovery", "1", "--rate", "1000", "--burst", "1000"]
    server = Server(*options)
    try:
        tess, ann = open_page(server.teacher, "Tess"), open_page(server.student, "Ann")
        tess.say("first")
        ann.expect("first")
        ann.set_network(False)
        tess.wait_for_text("count", "(1)")
        for number in range(101):
            tess.say(str(number))
        tess.wait_until(lambda: tess.messages()[-1] == "100" and tess.waiting() == [], "all messages")
        # Longer than it can be recovered.
        time.sleep(1.5)
        ann.set_network(True)
        ann.wait_until(lambda: len(ann.messages()) == 101, "the last hundred messages")
        assert ann.everything() == ["first", LOST, *map(str, range(1, 101))]
    finally:
        server.kill()


def test_long_polling_alone_suffices(server, open_page):
    def with_transports(link, transports):
        return link.replace("/#", f"/?transports={transports}#")

    tess = open_page(with_transports(server.teacher, "polling"), "Tess")
    ann = open_page(with_transports(server.student, "websocket"), "Ann")
    tess.wait_for_text("count", "(2)")
    begun = tess.polls()
    for number in range(3):
        tess.say(f"by polling {number}")
        ann.wait_until(lambda: len(ann.messages()) == 2 * number + 1, "the message")
        ann.say(f"over WebSocket {number}")
        tess.wait_until(lambda: len(tess.messages()) == 2 * number + 2, "the answer")
    assert tess.messages() == ann.messages()
    # A POST for each that it has sent, and a GET for each that it has received.
    assert tess.polls() >= begun + 6
    assert ann.polls() == 0


def test_stopped_server_is_waited_for(server, two):
    server.program.interrupt()
    assert server.program.exit_code() == 0, str(server.program)
    assert server.program.rest()[-1] == b"stopped: 2 closed, 0 lost, 0 cut off"
    for page in two:
        page.wait_for_state("reconnecting")
    server.start()
    for page in two:
        page.wait_for_state("open")


def test_administration_disconnects_and_closes(server, two, open_page):
    tess, ann = two
    ann.say("hello")
    tess.expect("hello")
    admin = open_page(server.links["admin"])
    admin.wait_for_state("open")
    admin.wait_for_text("totals", "2 sockets, 1 messages")
    admin.click("Sockets: class")
    admin.wait_until(lambda: "Ann" in admin.element("sockets").text, "the sockets")
    admin.click("Disconnect: Ann")
    ann.wait_for_text("end-reason", "an administrator has closed the connection")
    ann.wait_for_state("closed")
    admin.wait_for_text("totals", "1 sockets")
    ann.click("Try again")
    ann.wait_for_state("open")
    ann.expect("hello")
    admin.click("Close: class")
    admin.accept()
    for page in two:
        page.wait_for_text("end-reason", "an administrator has closed the class")
        page.wait_for_state("closed")


def test_administration_needs_its_own_token(server, open_page):
    for link in (f"{server.url}admin", f"{server.url}admin#token={server.tokens()[0]}"):
        page = open_page(link)
        page.wait_for_state("closed")
        page.wait_until(lambda: page.element("end-reason").is_displayed(), "why")
        page.close()


def test_picture(server, two, open_page):
    tess, ann = two
    bob = open_page(server.student, "Bob")
    tess.say("Good morning! Please open page 12 of the book.")
    ann.wait_until(lambda: len(ann.messages()) == 1, "the message")
    ann.say("Good morning, I have it.")
    bob.wait_until(lambda: len(bob.messages()) == 2, "the messages")
    bob.say("Which exercise is it?")
    tess.wait_until(lambda: len(tess.messages()) == 3, "the messages")
    tess.choose("Bob")
    tess.say("The first one. Ask me if something is not clear.")
    bob.wait_until(lambda: len(bob.messages()) == 4, "the messages")
    bob.wait_until(lambda: bob.element("typing").text == "", "nobody typing")
    bob.resize(720, 640)
    bob.emulate(prefers_color_scheme="light")
    bob.wait_until(lambda: bob.script("return innerWidth") == 720, "the size")
    assert bob.script("return document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off"
    bob.save_picture("classroom-socketio")
