"""The page of the classroom: its parts with Node, and the whole in Chromium without a display.

Pictures of it are saved in `target/browser`: in light and dark colors, and on a phone.
"""

import re

import pytest
from classroom import Classroom, Page, check_parts, windows
from harness import ROOT
from selenium.webdriver.common.keys import Keys
from test_browser import browsers  # noqa: F401, a fixture

WEB = ROOT / "examples" / "classroom" / "web"
REMOVED = "a teacher has removed you from the room"


@pytest.fixture
def classroom(tmp_path):
    classroom = Classroom(tmp_path)
    yield classroom
    classroom.kill()


@pytest.fixture
def open_page(browsers, classroom):  # noqa: F811
    with windows(browsers, Page) as open_next:
        yield open_next


@pytest.fixture
def two(classroom, open_page):
    """A teacher and a student, who know of each other."""
    tess = open_page(classroom.teacher, "Tess")
    ann = open_page(classroom.student, "Ann")
    tess.wait_for_text("count", "(2)")
    return tess, ann


def test_parts_of_the_page():
    check_parts(WEB)


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
    sides = (
        "const view = document.getElementById('view').getBoundingClientRect();"
        "return [...document.querySelectorAll('#messages > li')].map((each) => {"
        "const box = each.getBoundingClientRect(); return box.left - view.left < view.right - box.right })"
    )
    assert ann.script(sides) == [True, False], "others are left, own messages are right"
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


def test_enter_sends_and_shift_enter_breaks_the_line(two):
    tess, ann = two
    ann.type("one")
    ann.element("text").send_keys(Keys.SHIFT, Keys.ENTER)
    ann.say("two")
    tess.expect("one\ntwo")
    ann.say("   ")
    ann.element("text").clear()
    ann.say("three")
    tess.expect("one\ntwo", "three")


def test_private_message_is_seen_by_two(classroom, two, open_page):
    tess, ann = two
    bob = open_page(classroom.student, "Bob")
    ann.wait_until(lambda: "Bob" in ann.audiences(), "Bob as an audience")
    assert ann.audiences() == ["Everyone", "Everyone else", "Only me", "Tess", "Bob"]
    ann.choose("Tess")
    ann.say("secret")
    ann.expect("secret")
    assert ann.heads() == ["Ann to Tess, private"]
    tess.expect("secret")
    assert tess.heads() == ["Ann to you, private"]
    ann.choose("Only me")
    ann.say("note")
    ann.choose("Everyone else")
    ann.say("others")
    ann.expect("secret", "note", "others")
    tess.expect("secret", "others")
    bob.expect("others")


def test_muted_student_cannot_send_until_unmuted(two):
    tess, ann = two
    tess.open_tab("participants")
    tess.click("Mute Ann")
    ann.wait_for_text("left", "A teacher has muted you.")
    assert not ann.element("send").is_enabled()
    ann.say("not sent")
    tess.wait_until(lambda: "muted" in tess.element("participants").text, "that Ann is muted")
    tess.click("Unmute Ann")
    ann.wait_until(lambda: ann.element("send").is_enabled(), "that Ann may talk")
    ann.element("text").clear()
    ann.say("hello")
    tess.open_tab("chat")
    tess.expect("hello")


def test_removed_student_is_out_for_good(classroom, two, open_page):
    tess, ann = two
    tess.open_tab("participants")
    tess.click("Remove Ann")
    ann.wait_for_text("end-reason", REMOVED)
    ann.wait_for_state("closed")
    tess.wait_for_text("count", "(1)")
    ann.click("Try again")
    ann.wait_for_text("end-reason", REMOVED)
    # Another tab, with the link of the class and the same name.
    again = open_page(classroom.student)
    again.wait_until(lambda: again.element("name").is_displayed(), "the question for a name")
    again.element("name").send_keys(" ANN ", Keys.ENTER)
    again.wait_for_text("end-reason", REMOVED)
    assert tess.participants() == ["Tess"]


def test_students_have_no_controls(two):
    _, ann = two
    ann.open_tab("participants")
    assert ann.participants() == ["Tess", "Ann"]
    assert ann.script("return document.querySelectorAll('#participants button').length") == 0
    assert not ann.element("close-room").is_displayed()


def test_name_of_another_person_is_refused(classroom, two, open_page):
    other = open_page(classroom.student)
    other.wait_until(lambda: other.element("name").is_displayed(), "the question for a name")
    other.element("name").send_keys("ann", Keys.ENTER)
    other.wait_for_text("entrance-problem", "choose another one")
    other.element("name").clear()
    other.element("name").send_keys("Anna", Keys.ENTER)
    other.wait_for_state("open")


def test_typing_is_shown_until_the_message_is_there(two):
    tess, ann = two
    ann.type("hel")
    tess.wait_for_text("typing", "Ann is typing…")
    ann.say("lo")
    tess.expect("hello")
    tess.wait_until(lambda: tess.element("typing").text == "", "nobody typing")


def test_typing_right_after_a_message_is_shown(two):
    tess, ann = two
    ann.say("one")
    ann.type("two")
    tess.expect("one")
    tess.wait_for_text("typing", "Ann is typing…")


def test_participants_are_those_in_the_room(two):
    tess, ann = two
    tess.open_tab("participants")
    assert tess.participants() == ["Tess", "Ann"]
    ann.close()
    tess.wait_until(lambda: tess.participants() == ["Tess"], "that Ann has left")
    assert tess.element("count").text == "(1)"


def test_reloaded_page_is_the_same_person_with_the_history(two):
    tess, ann = two
    ann.say("one")
    tess.expect("one")
    ann.driver.refresh()
    ann.wait_for_state("open")
    ann.expect("one")
    assert ann.heads() == ["Ann"]
    tess.wait_for_text("count", "(2)")


def test_server_is_killed_while_a_message_is_typed(classroom, two):
    tess, ann = two
    ann.say("one")
    tess.expect("one")
    ann.type("tw")
    classroom.kill()
    for page in two:
        page.wait_for_state("reconnecting")
    # What is written meanwhile waits, and so does what is only half written.
    ann.say("o")
    ann.say("three")
    tess.say("four")
    ann.wait_until(lambda: ann.waiting() == ["two", "three"], "that two messages wait")
    ann.type("fi")
    classroom.start()
    for page in two:
        page.wait_for_state("open")
        page.wait_until(lambda: page.waiting() == [], "that nothing waits")
    assert ann.element("text").get_property("value") == "fi"
    ann.say("ve")
    for page in two:
        page.wait_until(lambda: len(page.messages()) == 5, "five messages")
        assert sorted(page.messages()) == sorted(["one", "two", "three", "four", "five"])
    assert tess.messages() == ann.messages()
    assert [text for text in ann.messages() if text != "four"] == ["one", "two", "three", "five"]


def test_killed_again_and_again_each_message_is_there_once_in_order(classroom, two):
    tess, ann = two
    expected = []
    for kill in range(3):
        for number in range(5):
            expected.append(f"{kill}-{number}")
            ann.say(expected[-1])
            if number == 2:
                classroom.kill()
        classroom.start()
    for page in two:
        page.wait_for_state("open")
        page.expect(*expected)


def test_older_messages_come_by_scrolling_and_new_ones_by_a_button(classroom, two, open_page):
    tess, ann = two
    with classroom.client(classroom.student, "Bot") as bot:
        # Fewer than the limit on the rate lets pass at once.
        for number in range(20):
            bot.say(f"line {number}\n" * 12)
        tess.wait_until(lambda: len(tess.messages()) == 20, "all messages")
        at_end = (
            "const { scrollHeight, scrollTop, clientHeight } = document.getElementById('view');"
            "return scrollHeight - scrollTop - clientHeight < 2"
        )
        tess.wait_until(lambda: tess.script(at_end), "the newest message")
        tess.script("document.getElementById('view').scrollTop = 500")
        tess.wait_for_frame()
        bot.say("new")
        tess.wait_until(lambda: tess.element("news").is_displayed(), "that there are new messages")
        assert not tess.script(at_end)
        tess.element("news").click()
        tess.wait_until(lambda: tess.script(at_end) and not tess.element("news").is_displayed(), "the newest message")


def test_page_shows_a_hundred_messages_and_older_ones_on_demand(tmp_path, browsers):  # noqa: F811
    classroom = Classroom(tmp_path, "--rate", "1000", "--burst", "1000")
    with classroom.client(classroom.student, "Bot") as bot:
        for number in range(230):
            bot.say(str(number))
        page = Page(browsers[0], classroom.student, "Ann")
        try:
            page.expect(*map(str, range(130, 230)))
            for first in (30, 0):
                page.script("document.getElementById('view').scrollTop = 0")
                page.expect(*map(str, range(first, 230)))
            assert page.element("top").text == ""
        finally:
            page.close()
    classroom.kill()


def test_closed_room_ends_the_pages_and_a_teacher_opens_it(two):
    tess, ann = two
    tess.open_tab("participants")
    tess.click("Close the room")
    tess.accept()
    for page in two:
        page.wait_for_state("closed")
        page.wait_for_text("end-reason", "the room is closed")
    assert not ann.element("reopen").is_displayed()
    tess.click("Open the room again")
    tess.wait_for_state("open")
    ann.click("Try again")
    ann.wait_for_state("open")
    tess.wait_for_text("count", "(2)")


def test_stopped_server_is_waited_for(classroom, two):
    tess, ann = two
    classroom.program.interrupt()
    assert classroom.program.exit_code() == 0, str(classroom.program)
    assert classroom.program.rest()[-1] == b"stopped: 2 connections closed, 0 cut off"
    for page in two:
        page.wait_for_state("reconnecting")
    classroom.start()
    for page in two:
        page.wait_for_state("open")


def test_administration_shows_rooms_and_closes_connections(classroom, two, open_page):
    tess, ann = two
    admin = open_page(classroom.links["admin"])
    admin.wait_for_state("open")
    admin.wait_until(lambda: "class" in admin.element("rooms").text, "the room")
    assert re.search(r"^2 connections", admin.element("totals").text)
    admin.click("Connections: class")
    admin.wait_until(lambda: "Ann" in admin.element("connections").text, "the connections")
    admin.click("Close: Ann")
    ann.wait_for_text("end-reason", "an administrator has closed the connection")
    ann.wait_for_state("closed")
    admin.wait_until(lambda: admin.element("totals").text.startswith("1 connection"), "that one is left")


def test_pictures(classroom, two, open_page):
    tess, ann = two
    bob = open_page(classroom.student, "Bob")
    tess.say("Good morning! Please open page 12 of the book.")
    ann.wait_until(lambda: len(ann.messages()) == 1, "the message")
    ann.say("Good morning, I have it.")
    bob.wait_until(lambda: len(bob.messages()) == 2, "the messages")
    bob.type("Which exercise is it?")
    bob.element("text").send_keys(Keys.SHIFT, Keys.ENTER)
    bob.say("The first one?")
    tess.wait_until(lambda: len(tess.messages()) == 3, "the messages")
    tess.choose("Bob")
    tess.say("The first one. Ask me if something is not clear.")
    tess.choose("Everyone")
    tess.say("Exercise 1, until a quarter past.")
    bob.wait_until(lambda: len(bob.messages()) == 5, "the messages")
    sizes = {"light": (720, 640), "dark": (720, 640), "phone": (390, 700)}
    bob.wait_until(lambda: bob.element("typing").text == "", "nobody typing")
    for name, (width, height) in sizes.items():
        bob.resize(width, height)
        bob.emulate(prefers_color_scheme="dark" if name == "dark" else "light")
        bob.wait_until(lambda: bob.script("return innerWidth") == width, "the size")
        assert bob.script("return document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off"
        bob.save_picture(f"classroom-{name}")
    background = "return getComputedStyle(document.body).backgroundColor"
    light = bob.script(background)
    bob.emulate(prefers_color_scheme="dark")
    assert bob.script(background) != light
