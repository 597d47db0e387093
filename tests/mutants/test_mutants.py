"""Tests of what rewrites the source, and of what finds the mutants that an error is about."""

from mutants import results
from mutants.build import CompileError, Span, blamed, manifest
from mutants.listing import Mutant, draw, is_test
from mutants.programs import stages
from mutants.results import Sums
from mutants.rewrite import Choice, Insertion, Rewritten, Source, find_switch, replace, rewrite
from mutants.runs import LIB, Stage, Verdict, unit_stages


def mutant(text, genre, replaced, replacement, occurrence=1):
    """Returns a mutant that replaces a part of a text."""
    at = -1
    for _ in range(occurrence):
        at = text.index(replaced, at + 1)

    def position(offset):
        before = text[:offset]
        return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1

    name = f"src/a.rs: {genre} {replaced} {replacement} {occurrence}"
    return Mutant(name, name, "src/a.rs", genre, position(at), position(at + len(replaced)), replacement, "")


def rewritten(text, *mutants):
    """Returns a text with switches for mutants, numbered from 1."""
    source = Source(text.encode())
    switches = {number: find_switch(source, mutant, number) for number, mutant in enumerate(mutants, 1)}
    assert None not in switches.values()
    return rewrite(source, switches)


def code(text, *mutants):
    return rewritten(text, *mutants).text.decode().replace("crate::mutants::on", "on")


def test_the_value_of_a_function_is_returned_at_its_start():
    text = "fn f() -> u8 { let a = 1; a }"
    changed = code(text, mutant(text, "FnValue", "let a = 1; a", "0"), mutant(text, "FnValue", "let a = 1; a", "1"))
    assert changed == "fn f() -> u8 { if on(1) { return 0; } if on(2) { return 1; } let a = 1; a }"


def test_an_operation_becomes_a_choice():
    text = "fn f(a: u8) -> bool { a < 7 }"
    changed = code(text, mutant(text, "BinaryOperator", "<", "=="), mutant(text, "BinaryOperator", "<", ">"))
    assert changed == "fn f(a: u8) -> bool { (if on(1) { a == 7 } else if on(2) { a > 7 } else { a < 7 }) }"


def test_operations_around_an_operator_are_part_of_the_choice():
    text = "fn f(a: u8, b: u8) -> u8 { a - b * 2 }"
    changed = code(text, mutant(text, "BinaryOperator", "*", "+"))
    assert changed == "fn f(a: u8, b: u8) -> u8 { (if on(1) { a - b + 2 } else { a - b * 2 }) }"


def test_switches_inside_of_a_choice_are_in_the_original_branch():
    text = "fn f(a: u8) -> bool { !g(a + 1) }"
    changed = code(text, mutant(text, "BinaryOperator", "+", "-"), mutant(text, "UnaryOperator", "!", ""))
    inner = "(if on(1) { a - 1 } else { a + 1 })"
    assert changed == "fn f(a: u8) -> bool { (if on(2) { g(a + 1) } else { !g(" + inner + ") }) }"


def test_a_value_and_an_operation_at_the_same_place_are_both_switched():
    text = "fn f(a: u8) -> bool { a == 7 }"
    changed = code(text, mutant(text, "BinaryOperator", "==", "!="), mutant(text, "FnValue", "a == 7", "true"))
    inner = "(if on(1) { a != 7 } else { a == 7 })"
    assert changed == "fn f(a: u8) -> bool { if on(2) { return true; } " + inner + " }"


def test_an_assignment_becomes_a_choice():
    text = "fn f(a: &mut u8) { *a += 1; }"
    changed = code(text, mutant(text, "BinaryOperator", "+=", "-="))
    assert changed == "fn f(a: &mut u8) { (if on(1) { *a -= 1 } else { *a += 1 }); }"


def test_a_deleted_match_arm_gets_a_guard():
    text = "fn f(a: u8) -> u8 { match a { 1 | 2 => 3, _ => 4 } }"
    changed = code(text, mutant(text, "MatchArm", "1 | 2 => 3,", ""))
    assert changed == "fn f(a: u8) -> u8 { match a { 1 | 2 if !on(1) => 3, _ => 4 } }"


def test_a_guard_becomes_a_choice():
    text = "fn f(a: u8) -> u8 { match a { b if b > 2 => 3, _ => 4 } }"
    changed = code(text, mutant(text, "MatchArmGuard", "b > 2", "true"), mutant(text, "BinaryOperator", ">", ">=", 2))
    guard = "(if on(1) { true } else if on(2) { b >= 2 } else { b > 2 })"
    assert changed == "fn f(a: u8) -> u8 { match a { b if " + guard + " => 3, _ => 4 } }"


def test_a_deleted_field_is_that_of_the_base():
    text = "fn f() -> A { A { a: 1, b: 2, ..A::new() } }"
    changed = code(text, mutant(text, "StructField", "b: 2,", ""))
    assert changed == "fn f() -> A { (if on(1) { A { a: 1,  ..A::new() } } else { A { a: 1, b: 2, ..A::new() } }) }"


def test_a_function_with_a_switch_is_not_const():
    text = "const fn f(a: u8) -> u8 { a + 1 }\npub const fn g() -> u8 { 2 }"
    file = rewritten(text, mutant(text, "BinaryOperator", "+", "-"))
    assert file.text.decode().startswith("      fn f(a: u8)")
    assert file.text.decode().endswith("pub const fn g() -> u8 { 2 }")
    assert file.no_longer_const == {"f": {1}}


def test_a_part_of_a_chain_is_not_switched():
    text = "fn f(a: Option<u8>, b: bool) -> u8 { if let Some(a) = a && b { a } else { 0 } }"
    source = Source(text.encode())
    assert find_switch(source, mutant(text, "BinaryOperator", "&&", "||"), 1) is None


def test_columns_are_characters():
    text = "fn f(a: &str) -> bool { g(\"\u00e4\u00f6\") && a == \"\u00fc\" }"
    found = mutant(text, "BinaryOperator", "==", "!=")
    assert replace(Source(text.encode()), found).decode() == text.replace("==", "!=")


def test_an_error_is_about_the_mutant_whose_code_it_names():
    text = "fn f(a: u8) -> bool { a < 7 }"
    file = rewritten(text, mutant(text, "BinaryOperator", "<", "=="), mutant(text, "BinaryOperator", "<", ">"))
    start = file.text.index(b"a > 7")
    error = CompileError("E0308", "", (Span("src/a.rs", start, start + 1, True),))
    assert blamed({"src/a.rs": file}, error) == {2}


def test_an_error_about_a_whole_switch_is_about_all_of_its_mutants():
    text = "fn f(a: u8) -> bool { a < 7 }"
    file = rewritten(text, mutant(text, "BinaryOperator", "<", "=="), mutant(text, "BinaryOperator", "<", ">"))
    start = file.text.index(b"a < 7")
    error = CompileError("E0308", "", (Span("src/a.rs", start, start + 5, True),))
    assert blamed({"src/a.rs": file}, error) == {1, 2}


def test_an_error_elsewhere_in_a_function_is_about_its_mutants():
    text = "fn f(a: u8) -> bool { let b = 7; a < b }\nfn g(a: u8) -> bool { a > 1 }"
    file = rewritten(text, mutant(text, "BinaryOperator", "<", "=="), mutant(text, "BinaryOperator", ">", "<", 3))
    start = file.text.index(b"let b")
    error = CompileError("E0282", "", (Span("src/a.rs", start, start + 5, True),))
    assert blamed({"src/a.rs": file}, error) == {1}


def test_a_call_in_a_constant_is_about_the_function_that_was_const():
    file = Rewritten(b"", [], {"len": {3, 4}})
    text = "error[E0015]: cannot call non-const associated function `proto::Header::len` in constants"
    error = CompileError("E0015", text, (Span("src/b.rs", 1, 2, True),))
    assert blamed({"src/a.rs": file}, error) == {3, 4}


def test_lints_are_left_out_of_the_manifest():
    original = '[package]\nname = "a"\n\n[lints.rust]\nunsafe_code = "deny"\n\n[lib]\nbench = false\n'
    start = '[package]\nname = "a"\n\n[lib]\nbench = false\n'
    profile = "debug = 0\nopt-level = 1\ncodegen-units = 201\n"
    assert manifest(original, 201) == start + "\n[profile.dev.package.fullduplex]\n" + profile


def test_a_larger_draw_contains_a_smaller_one():
    mutants = [Mutant(f"{n}", f"{n}", "", "", (1, 1), (1, 1), "", "") for n in range(100)]
    assert draw(mutants, 1, 20) == draw(mutants, 1, 50)[:20]
    assert draw(mutants, 1, 20) != draw(mutants, 2, 20)


def test_functions_of_test_modules_have_no_mutants():
    assert is_test({"function": {"function_name": "tests::Stream::open"}})
    assert not is_test({"function": {"function_name": "Stream::open"}}) and not is_test({"function": None})


def test_unit_tests_of_the_same_module_are_run_first():
    assert unit_stages("src/proto/receive/mod.rs") == [
        Stage(LIB, only="proto::receive::"),
        Stage(LIB, only="proto::", skip=("proto::receive::", "proto::deflate::")),
        Stage(LIB, skip=("proto::", "proto::deflate::")),
    ]


def test_integration_tests_of_the_same_room_are_run_first_and_the_shortest_of_them():
    names = ["axum", "sink", "parts", "closing"]
    seconds = dict(zip((Stage(("test", name)) for name in names), [1.0, 2.0, 7.0, 3.0]))
    order = [stage.binary[1] for stage in stages("src/proto/header.rs", names, seconds)]
    assert order == ["closing", "parts", "axum", "sink"]


def test_a_timeout_is_caught_and_an_unviable_mutant_does_not_count():
    sums = Sums.of([Verdict("unit"), Verdict("timeout"), Verdict("unviable"), Verdict("survived")])
    assert (sums.drawn, sums.viable, sums.caught) == (4, 3, 2)


def test_only_mutants_whose_reason_begins_so_are_equivalent(tmp_path, monkeypatch):
    reasons = tmp_path / "survivors.toml"
    entry = '[[survivor]]\nmutant = "{}"\nwhy = "{}"\n'
    reasons.write_text(entry.format("a", "Equivalent: it is the same.") + entry.format("b", "No test has this machine."))
    monkeypatch.setattr(results, "REASONS", reasons)
    assert results.equivalent() == {"a"}


def test_a_result_is_used_until_its_file_changes_except_for_its_tests(tmp_path, monkeypatch):
    source = "fn f() {}\n"
    monkeypatch.setattr(results, "digest_of", lambda file: results.digest(source) if file == "src/a.rs" else "")
    found = mutant(source, "FnValue", "{}", "()")
    results.Results(tmp_path / "results").store(found, Verdict("unit"), "commit")
    source += "\n#[cfg(all(test, not(loom)))]\nmod tests {\n}\n"
    assert results.Results(tmp_path / "results").of(found) == "unit"
    source = source.replace("f()", "g()")
    assert results.Results(tmp_path / "results").of(found) == ""


def test_switches_have_their_kinds():
    text = "fn f(a: u8) -> u8 { match a { 1 => 3 + a, _ => 4 } }"
    source = Source(text.encode())
    assert isinstance(find_switch(source, mutant(text, "MatchArm", "1 => 3 + a,", ""), 1), Insertion)
    assert isinstance(find_switch(source, mutant(text, "BinaryOperator", "+", "-"), 1), Choice)
