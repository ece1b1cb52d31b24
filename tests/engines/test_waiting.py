from __future__ import annotations

import os

from hotdesk.engines.waiting import command_of, namespace_ids, status_documents


def test_bubblewraps_documents_are_read_as_one() -> None:
    text = '{ "child-pid": 7, "mnt-namespace": 4026532001 }\n{ "exit-code": 3 }\n'

    assert status_documents(text) == {"child-pid": 7, "mnt-namespace": 4026532001, "exit-code": 3}


def test_a_line_that_is_cut_off_is_left_out() -> None:
    assert status_documents('{ "child-pid": 7 }\n{ "exit-c') == {"child-pid": 7}
    assert status_documents("") == {}
    assert status_documents("[1]\nnull\n" + "[" * 100_000) == {}


def test_our_own_ids_end_with_our_own() -> None:
    assert namespace_ids(os.getpid())[-1] == os.getpid()


def test_a_process_that_is_gone_has_none() -> None:
    assert namespace_ids(2**22 + 1) == []
    assert command_of(2**22 + 1) is None
    assert command_of(-1) is None
