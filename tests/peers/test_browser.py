"""The chat's page in a real browser: two windows of Chromium, each in a browser of its own.

Also the browser's compression, with the chat and with the echo server.

The browsers have no display. Pictures of both windows, and of a window that does not show what a
test waits for, are saved in `target/browser`.
"""

import os
import shutil
import tempfile
import time

import pytest
from harness import DEADLINE, TARGET, Failed
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from test_broadcast import start  # noqa: F401, a fixture
from test_compression import WILLING, parameters, serving, words
from wire import record

PICTURES = TARGET / "browser"
# The maximum number of lines that the page keeps.
MAX_LINES = 500

OPTIONS = [
    "--headless",
    # Without these two it does not start as root in a container, where /dev/shm can be tiny.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    # The only connections are those to the server under test.
    "--no-proxy-server",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=640,560",
]


def installed(name):
    path = shutil.which(name)
    if path is None:
        raise Failed(f"no {name}: run tests/setup.sh")
    return path


def start_browser(home):
    options = webdriver.ChromeOptions()
    # Without both paths, Selenium would look for a browser and download one.
    options.binary_location = installed("chromium")
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Files that it creates are deleted with its home directory.
    service = Service(installed("chromedriver"), env={**os.environ, "HOME": home, "TMPDIR": home})
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(DEADLINE)
    driver.set_script_timeout(DEADLINE)
    return driver


class Window:
    """The chat's page in a window."""

    def __init__(self, driver, chat, target):
        self.driver = driver
        self.chat = chat
        self._expected = 0
        self._is_open = True
        # The browser's first window stays: closing the last one would end the browser.
        driver.switch_to.new_window("window")
        driver.get(chat.url.replace("ws:", "http:") + target)

    def expect(self, *texts):
        """Waits for more lines than those expected before, and asserts that they are exactly these."""
        end = self._expected + len(texts)
        self.wait_until(lambda: len(self.lines()) >= end, f"{len(texts)} more lines, {texts}")
        assert self.lines()[self._expected :] == list(texts)
        self._expected = end

    def wait_until(self, condition, what):
        end = time.monotonic() + DEADLINE
        while not condition():
            if time.monotonic() > end:
                self.save_picture("failed")
                raise Failed(f"does not show {what}, but {self.lines()}: see {PICTURES}/failed.png")
            time.sleep(0.02)

    def say(self, text):
        """Types a line and clicks the button."""
        self.input.send_keys(text)
        self.button.click()

    def say_with_enter(self, text):
        self.input.send_keys(text, Keys.ENTER)

    def lines(self):
        """Returns the visible text of the lines."""
        return self.script("return Array.from(document.querySelectorAll('#lines > li'), (line) => line.innerText)")

    def lines_of_kind(self, kind):
        return [line.text for line in self.driver.find_elements(By.CSS_SELECTOR, f"#lines > .{kind}")]

    def is_in_view(self, which):
        """Returns whether a line (`first` or `last`) is in view."""
        return self.script(
            f"const line = document.getElementById('lines').{which}ElementChild.getBoundingClientRect();"
            "const view = document.getElementById('view').getBoundingClientRect();"
            "return line.top >= view.top - 1 && line.bottom <= view.bottom + 1"
        )

    def console_messages(self):
        """Returns the console output since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def script(self, text):
        return self.driver.execute_script(text)

    def save_picture(self, name):
        PICTURES.mkdir(parents=True, exist_ok=True)
        assert self.driver.save_screenshot(str(PICTURES / f"{name}.png"))

    def close(self):
        if self._is_open:
            self._is_open = False
            self.driver.close()
            self.driver.switch_to.window(self.driver.window_handles[0])

    @property
    def input(self):
        return self.driver.find_element(By.ID, "line")

    @property
    def button(self):
        return self.driver.find_element(By.ID, "send")


@pytest.fixture(scope="module")
def browsers():
    started = []
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        # Otherwise, Selenium would connect to chromedriver through a proxy.
        patch.setenv("no_proxy", "localhost")
        try:
            for _ in range(2):
                started.append(start_browser(home))
            yield started
        finally:
            for driver in started:
                driver.quit()


@pytest.fixture
def open_window(browsers, start):
    """Opens windows, at most one in each browser. At the end, asserts that their consoles are empty."""
    opened = []

    def open_next(chat, target="/"):
        opened.append(Window(browsers[len(opened)], chat, target))
        return opened[-1]

    yield open_next
    console_messages = [message for window in opened for message in window.console_messages()]
    for window in opened:
        window.close()
    assert console_messages == []


@pytest.fixture
def ann(start, open_window):
    """Opens a window of a chat, and waits until its member has joined."""
    ann = open_window(start(), "/?name=ann")
    ann.expect("* you are ann, others here: 0")
    return ann


@pytest.fixture
def two(ann, open_window):
    """Opens two windows, and waits until each shows the member of the other."""
    bob = open_window(ann.chat, "/?name=bob")
    bob.expect("* you are bob, others here: 1")
    ann.expect("* bob joined")
    return ann, bob


def test_line_is_shown_in_both_windows(two):
    ann, bob = two
    ann.say("hello, bob")
    ann.expect("you: hello, bob")
    bob.expect("ann: hello, bob")
    bob.say_with_enter("hello, ann")
    bob.expect("you: hello, ann")
    ann.expect("bob: hello, ann")


def test_input_is_cleared_after_a_line_was_sent(two):
    ann, bob = two
    ann.say("one")
    assert ann.input.get_property("value") == ""
    # The input keeps the focus after a click on the button.
    ann.driver.switch_to.active_element.send_keys("two", Keys.ENTER)
    ann.expect("you: one", "you: two")
    bob.expect("ann: one", "ann: two")


def test_blank_line_is_not_sent(two):
    ann, bob = two
    ann.say_with_enter("   ")
    ann.say("something")
    ann.expect("you: something")
    bob.expect("ann: something")


def test_guest_chooses_a_name_in_the_page(start, open_window):
    chat = start()
    ann = open_window(chat)
    ann.expect("* you are guest-1, others here: 0")
    bob = open_window(chat)
    bob.expect("* you are guest-2, others here: 1")
    ann.expect("* guest-2 joined")
    ann.say("/name ann")
    ann.expect("* you are ann")
    bob.expect("* guest-1 is now ann")
    bob.say("/name ann")
    bob.expect("* the name ann is taken")
    ann.say("hello")
    ann.expect("you: hello")
    bob.expect("ann: hello")


def test_closing_the_window_leaves_the_chat(two):
    ann, bob = two
    bob.close()
    ann.expect("* bob left")


def test_opening_another_page_leaves_the_chat(two):
    ann, bob = two
    bob.driver.get("about:blank")
    ann.expect("* bob left")


@pytest.mark.parametrize(
    "text",
    [
        '<b>bold</b> & "quoted" &amp; &lt;i&gt;',
        "<img src=x onerror=\"document.title = 'run'\">",
        "<script>document.title = 'run'</script>",
        "</li></ol><h1>run</h1>",
        "javascript:document.title='run' {nonce} ${1 + 1} \\u003cb\\u003e",
    ],
)
def test_markup_is_shown_as_text(two, text):
    ann, bob = two
    elements = "return document.querySelectorAll(':not(#lines *)').length"
    before = bob.script(elements)
    ann.say(text)
    ann.expect(f"you: {text}")
    bob.expect(f"ann: {text}")
    assert bob.script(elements) == before
    assert bob.script("return document.querySelectorAll('#lines :not(li, strong, bdi)').length") == 0
    assert bob.driver.title == "broadcast"


@pytest.mark.parametrize("text", ["Grüße, Καλημέρα", "世界", "שלום", "🎉 and 👩‍👩‍👧", "𝄞 e\u0301"])
def test_non_ascii_text_is_shown_unchanged(two, text):
    ann, bob = two
    ann.say(text)
    ann.expect(f"you: {text}")
    bob.expect(f"ann: {text}")


def test_notices_cannot_be_forged(two):
    ann, bob = two
    ann.say("* bob left")
    bob.expect("ann: * bob left")
    assert bob.lines_of_kind("notice") == ["* you are bob, others here: 1"]


def test_own_lines_are_marked_differently_from_those_of_a_member_named_you(two):
    ann, bob = two
    ann.say("/name you")
    bob.expect("* ann is now you")
    ann.say("not from bob")
    bob.expect("you: not from bob")
    bob.say("from bob")
    bob.expect("you: from bob")
    assert bob.lines_of_kind("mine") == ["you: from bob"]


def test_page_shows_that_the_server_stopped_and_sends_nothing(two):
    ann, bob = two
    assert ann.button.is_enabled()
    ann.chat.program.interrupt()
    for window in (ann, bob):
        window.expect("* closed: the server stops (1001); reload to join again")
        assert not window.button.is_enabled()
    ann.say_with_enter("too late")
    ann.expect()
    # It is not lost: it can be copied, and sent once the page is loaded again.
    assert ann.input.get_property("value") == "too late"
    assert ann.chat.program.exit_code() == 0, str(ann.chat.program)


def test_page_shows_that_the_connection_was_lost(two):
    ann, bob = two
    ann.chat.program.kill()
    for window in (ann, bob):
        window.expect("* closed: the connection is lost (1006); reload to join again")
        assert not window.button.is_enabled()


def test_page_shows_that_the_chat_is_full(start, open_window):
    chat = start("--max-connections", "1")
    open_window(chat, "/?name=ann").expect("* you are ann, others here: 0")
    bob = open_window(chat, "/?name=bob")
    bob.expect("* cannot join: all seats may be taken; reload to join again")
    assert not bob.button.is_enabled()
    (message,) = bob.console_messages()
    assert "503" in message


def test_page_scrolls_to_the_newest_line(ann):
    with ann.chat.join("bob", 1) as bob:
        for number in range(100):
            bob.send(f"line {number}")
        texts = [f"bob: line {number}" for number in range(100)]
        ann.expect("* bob joined", *texts)
        ann.wait_until(lambda: ann.is_in_view("last"), "the last line")


def test_page_does_not_scroll_from_earlier_lines_until_an_own_line(ann):
    with ann.chat.join("bob", 1) as bob:
        for number in range(100):
            bob.send(f"line {number}")
        ann.wait_until(lambda: len(ann.lines()) == 102, "all lines")
        ann.script("document.querySelector('#lines > li').scrollIntoView()")
        ann.wait_until(lambda: ann.is_in_view("first"), "the first line")
        bob.send("a last line")
        ann.wait_until(lambda: len(ann.lines()) == 103, "one more line")
        # The browser corrects the view with its next frame.
        ann.wait_until(lambda: ann.is_in_view("first"), "the first line")
        ann.say("my own")
        ann.wait_until(lambda: ann.is_in_view("last"), "the own line")
        assert ann.lines()[-1] == "you: my own"


def test_oldest_lines_are_removed(ann):
    with ann.chat.join("bob", 1) as bob:
        for number in range(MAX_LINES + 100):
            bob.send(f"line {number}")
        last = f"bob: line {MAX_LINES + 99}"
        ann.wait_until(lambda: ann.lines()[-1:] == [last], last)
        lines = ann.lines()
        assert len(lines) == MAX_LINES
        assert lines[0] == "bob: line 100"


def test_pictures_of_both_windows_are_saved(two):
    ann, bob = two
    ann.say('Markup is text: <b>&" 🎉')
    bob.expect('ann: Markup is text: <b>&" 🎉')
    bob.say("A long line is broken, " * 8 + "x" * 120)
    ann.wait_until(lambda: len(ann.lines()) == 4, "the long line")
    bob.say("/name bobby")
    ann.wait_until(lambda: len(ann.lines()) == 5, "the new name")
    bob.say("See you.")
    ann.wait_until(lambda: len(ann.lines()) == 6, "the last line")
    bob.save_picture("bob")
    bob.close()
    ann.wait_until(lambda: "* bobby left" in ann.lines(), "that bobby left")
    ann.chat.program.interrupt()
    ann.wait_until(lambda: ann.lines_of_kind("closed"), "that the server stopped")
    ann.save_picture("ann")


def test_lines_are_exchanged_with_compression(start, open_window):
    chat = start(*WILLING)
    ann = open_window(chat, "/?name=ann")
    ann.expect("* you are ann, others here: 0")
    bob = open_window(chat, "/?name=bob")
    bob.expect("* you are bob, others here: 1")
    ann.expect("* bob joined")
    for line in ["hello, bob", "世界 🎉 " * 100, "hello, bob"]:
        ann.say_with_enter(line)
        ann.expect(f"you: {line.rstrip()}")
        bob.expect(f"ann: {line.rstrip()}")


CONVERSE = """
const [url, texts, done] = arguments;
const socket = new WebSocket(url);
const answers = [];
socket.onopen = () => socket.send(texts[0]);
socket.onmessage = ({ data }) => {
  answers.push(data);
  if (answers.length < texts.length) socket.send(texts[answers.length]);
  else socket.close(1000);
};
socket.onclose = ({ code }) => done([socket.extensions, code, answers]);
"""


@pytest.mark.parametrize(
    "arguments",
    [["--deflate"], WILLING, [*WILLING, "--parts"], *[[*WILLING, "--window-bits", str(bits)] for bits in range(8, 16)]],
    ids=" ".join,
)
def test_browser_and_echo_server_compress_messages(browsers, arguments):
    texts = [words(size) for size in (0, 1, 100, 70_000, 1 << 20)] * 2
    with serving("echo", *arguments) as url, record(url) as wire:
        # A page of this origin, unlike a blank one: the response to a plain request, which the console reports.
        browsers[0].get(url.replace("ws:", "http:"))
        browsers[0].get_log("browser")
        extensions, code, answers = browsers[0].execute_async_script(CONVERSE, wire.url, texts)
    assert code == 1000
    assert (answers == texts) is True
    assert parameters(extensions) == parameters(wire.extensions("server"))
    for end in ("client", "server"):
        sent = wire.messages(end)
        large = [one.length for one, text in zip(sent, texts) if len(text) > 1000]
        if end == "server" and "8" in arguments:
            # Very short ones would not become shorter; long ones are not compressed with so small a window.
            assert [one.compressed for one in sent] == [len(text) == 100 for text in texts]
        else:
            assert all(length < 350_000 for length in large)
