"""The classroom for tests: the program with its links, clients without a page, and windows with one."""

import contextlib
import json
import re
import shutil
import time
import urllib.request

from harness import DEADLINE, PACKAGES, Failed, free_port
from peers import Program
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from test_browser import PICTURES
from websockets.sync.client import connect

CLASSROOM = PACKAGES / "classroom"


def printed_links(program):
    """Returns the links that a program prints when it starts, by whom they are for."""
    links = {}
    # The last one.
    while "admin" not in links:
        line = program.line()
        if line is None:
            raise Failed(f"prints no links: {program}")
        what, separator, link = line.decode().strip().partition(": http")
        if separator:
            links[what] = "http" + link
    return links


def check_parts(web):
    """Runs the tests of the parts of a page with Node."""
    path = shutil.which("node") or shutil.which("nodejs")
    if path is None:
        raise Failed("no node: run tests/setup.sh")
    with Program([path, "--test", "--test-reporter=tap", *sorted(web.glob("*.test.mjs"))]) as program:
        program.end_input()
        text = b"\n".join(program.rest()).decode()
        assert program.exit_code() == 0, text
    [passed] = re.findall(r"^# pass (\d+)$", text, re.MULTILINE)
    assert int(passed) > 0, text


@contextlib.contextmanager
def windows(browsers, kind):
    """Opens windows with pages of a type, in two browsers. At the end, asserts that no script has failed."""
    opened = []

    def open_next(link, name=None):
        opened.append(kind(browsers[len(opened) % 2], link, name))
        return opened[-1]

    yield open_next
    failures = [message for page in opened if page.is_open for message in page.console_messages()]
    for page in opened:
        page.close()
    # The browser itself reports requests that a server refuses, or that reach none.
    reports = ("Failed to load resource", "WebSocket connection to")
    assert [each for each in failures if not any(report in each for report in reports)] == []


class Classroom:
    """The program, which can be killed and started again at the same address."""

    def __init__(self, directory, *options):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        database = directory / "classroom.sqlite"
        self._command = [CLASSROOM, "--listen", f"127.0.0.1:{self.port}", "--database", database, *options]
        self.start()

    def start(self):
        self.program = Program(self._command)
        self.links = printed_links(self.program)

    @property
    def teacher(self):
        return self.links["class, teacher"]

    @property
    def student(self):
        return self.links["class, student"]

    def kill(self):
        """Sends SIGKILL."""
        self.program.kill()

    def client(self, link, name):
        """Returns a client that joins as a person, as a context manager."""
        ticket = link.partition("#ticket=")[2]
        body = json.dumps({"ticket": ticket, "name": name}).encode()
        request = urllib.request.Request(f"{self.url}api/token", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=DEADLINE) as response:
            issued = json.load(response)
        return Client(self.port, issued)


class Client:
    """A connection without a page."""

    def __init__(self, port, issued):
        protocols = ["classroom.v1", f"bearer.{issued['token']}"]
        self._connection = connect(f"ws://127.0.0.1:{port}/ws", subprotocols=protocols)
        self._join = f"{issued['role']}:join"
        self._next = 0

    def __enter__(self):
        self._ws = self._connection.__enter__()
        self.call(self._join, {})
        return self

    def __exit__(self, *error):
        self._connection.__exit__(*error)

    def call(self, event, data):
        self._next += 1
        self._ws.send(json.dumps({"event": event, "id": self._next, "data": data}))
        while (message := json.loads(self._ws.recv(timeout=DEADLINE))).get("ack") != self._next:
            pass
        assert message["ok"], message
        return message["data"]

    def say(self, text):
        return self.call("chat:message", {"client_id": f"c{self._next}", "text": text})


class Page:
    """The page in a window of its own."""

    def __init__(self, driver, link, name=None):
        self._driver = driver
        driver.switch_to.new_window("window")
        self._handle = driver.current_window_handle
        driver.get(link)
        if name is not None:
            self.wait_until(lambda: self.element("name").is_displayed(), "the question for a name")
            self.element("name").send_keys(name, Keys.ENTER)
            self.wait_for_state("open")

    @property
    def is_open(self):
        return self._handle is not None

    @property
    def driver(self):
        if self._driver.current_window_handle != self._handle:
            self._driver.switch_to.window(self._handle)
        return self._driver

    def element(self, name):
        return self.driver.find_element(By.ID, name)

    def script(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    def wait_until(self, condition, what):
        end = time.monotonic() + DEADLINE
        while not condition():
            if time.monotonic() > end:
                self.save_picture("failed")
                body = self.script("return document.body.innerText")
                raise Failed(f"does not show {what}: see {PICTURES}/failed.png\n{body}")
            time.sleep(0.02)

    def wait_for_frame(self):
        """Waits until the page knows of its new scroll position, which it is told before a frame."""
        self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

    def wait_for_state(self, state):
        self.wait_until(lambda: self.element("state").get_attribute("data-state") == state, f"the state {state}")

    def wait_for_text(self, name, text):
        self.wait_until(lambda: text in self.element(name).text, f"{text!r} in {name}")

    def messages(self):
        """Returns the texts of the messages."""
        return self._texts("#messages .text")

    def waiting(self):
        """Returns the texts of the messages that are not sent yet."""
        return self._texts("#pending .text")

    def participants(self):
        return self._texts("#participants > li .name")

    def _texts(self, selector):
        return self.script(f"return [...document.querySelectorAll('{selector}')].map((each) => each.textContent)")

    def heads(self):
        """Returns what is above each message, without the time."""
        return self.script(
            "return [...document.querySelectorAll('#messages .head')].map("
            "(each) => each.innerText.replace(each.querySelector('time').innerText, '').trim())"
        )

    def expect(self, *texts):
        """Waits until the page shows exactly these messages."""
        self.wait_until(lambda: self.messages() == list(texts), f"{texts}, but {self.messages()}")

    def type(self, text):
        self.element("text").send_keys(text)

    def say(self, text):
        self.element("text").send_keys(text, Keys.ENTER)

    def choose(self, audience):
        Select(self.element("to")).select_by_visible_text(audience)

    def audiences(self):
        return [option.text for option in Select(self.element("to")).options]

    def open_tab(self, name):
        self.element(f"tab-{name}").click()

    def click(self, label):
        """Clicks the button with this label for assistive technology, or with this text."""
        path = f"//button[@aria-label='{label}' or normalize-space()='{label}']"
        found = [each for each in self.driver.find_elements(By.XPATH, path) if each.is_displayed()]
        assert len(found) == 1, (label, found)
        found[0].click()

    def accept(self):
        """Accepts the question that the page asks."""
        self.driver.switch_to.alert.accept()

    def console_messages(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def emulate(self, **features):
        """Sets media features, such as the color scheme."""
        values = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": values})

    def resize(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def save_picture(self, name):
        PICTURES.mkdir(parents=True, exist_ok=True)
        assert self.driver.save_screenshot(str(PICTURES / f"{name}.png"))

    def close(self):
        if self._handle is not None:
            self.driver.close()
            self._handle = None
            self._driver.switch_to.window(self._driver.window_handles[0])
