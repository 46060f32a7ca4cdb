"""A push survives the way to the gateway as it is, or is refused: there is no third."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelway_contract import codec
from modelway_contract.config import Base, Client, Credentials, Live, LiveState, Push, Split


def a_push(*, share: int = 500, epoch: int = 1, sequence: int = 1) -> Push:
    """A small whole push."""
    split = Split(namespace="shop", policy="chat", rule="default", target="main", rollout_id="r1", share=share)
    base = Base(shared_namespaces=("platform",))
    keys = Credentials(
        sources=("client:shop/a uid 1",), clients=(Client(key_sha256="0" * 64, namespace="shop", name="a"),)
    )
    return Push(
        live=Live(epoch=epoch, sequence=sequence, state=LiveState(splits=(split,))),
        base_digest=codec.digest_base(base),
        credentials_digest=codec.digest_credentials(keys),
        base=base,
        credentials=keys,
    )


@given(share=st.integers(0, 10_000), epoch=st.integers(0, 2**53), sequence=st.integers(0, 2**53))
def test_packing_and_unpacking_gives_the_same_push(share: int, epoch: int, sequence: int) -> None:
    """What goes out comes in."""
    push = a_push(share=share, epoch=epoch, sequence=sequence)

    assert push == codec.unpack(codec.pack(push))


def test_equal_pushes_are_equal_bytes() -> None:
    """No time and no order of a dict gets in, so that an unchanged bundle is not written again."""
    assert codec.pack(a_push()) == codec.pack(a_push())


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_f23_a_flipped_bit_is_refused_or_says_nothing(place: int, bit: int) -> None:
    """Nobody reads the header's time or the last byte's padding; a flip anywhere else is found."""
    push = a_push()
    packed = bytearray(codec.pack(push))
    packed[place % len(packed)] ^= 1 << bit

    try:
        read = codec.unpack(bytes(packed))
    except codec.ContractError:
        return
    assert push == read


def test_f23_a_flipped_bit_in_the_content_is_refused() -> None:
    """Every bit of the checksum, and of the bytes that it covers."""
    packed = codec.pack(a_push())
    for place in (*range(12, len(packed) - 16), *range(len(packed) - 8, len(packed) - 4)):
        for bit in range(8):
            flipped = bytearray(packed)
            flipped[place] ^= 1 << bit
            with pytest.raises(codec.ContractError):
                codec.unpack(bytes(flipped))


@given(st.integers(0, 10_000))
def test_f23_a_truncated_push_is_refused(length: int) -> None:
    """Whatever is missing."""
    packed = codec.pack(a_push())

    with pytest.raises(codec.ContractError):
        codec.unpack(packed[: length % len(packed)])


def test_a_gzip_bomb_is_refused_before_it_is_unpacked() -> None:
    """The bound is on what comes out."""
    bomb = gzip.compress(b" " * (codec.MAX_DOCUMENT_BYTES + 1))

    with pytest.raises(codec.ContractError, match="larger than"):
        codec.unpack(bomb)


def test_a_section_that_is_not_what_its_digest_says_is_refused() -> None:
    """The path names the section."""
    push = a_push()
    other = Push(live=push.live, base_digest="sha256:0", credentials_digest=push.credentials_digest, base=push.base)

    with pytest.raises(codec.ContractError) as refused:
        codec.verify(other)

    assert ("$.base", "digest_mismatch") == (refused.value.path, refused.value.code)


def test_another_major_is_refused() -> None:
    """A gateway cannot know what it would ignore."""
    base = Base(schema_major=2)
    push = Push(live=a_push().live, base_digest=codec.digest_base(base), credentials_digest="", base=base)

    with pytest.raises(codec.ContractError, match="run operator and gateway of one release"):
        codec.verify(push)


def test_epoch_and_sequence_are_no_part_of_the_revision() -> None:
    """A heartbeat or a new leader changes no revision; a share does."""
    revisions = {codec.revision(a_push(epoch=epoch, sequence=epoch)) for epoch in range(3)}

    assert {codec.revision(a_push())} == revisions
    assert codec.revision(a_push(share=600)) not in revisions


def test_the_digest_of_credentials_tells_nothing_of_the_keys() -> None:
    """It is made of where they come from."""
    one, other = (
        Credentials(sources=("x uid 1",), clients=(Client(key_sha256=digit * 64, namespace="n", name="c"),))
        for digit in "01"
    )

    assert codec.digest_credentials(one) == codec.digest_credentials(other)


def test_an_unknown_field_is_named_with_its_path() -> None:
    """An older gateway finds out at once that a newer operator means something that it cannot do."""
    with pytest.raises(codec.ContractError) as refused:
        codec.decode(b'{"epoch":1,"sequence":1,"state":{"shiny":true}}', Live)

    assert "$.state" == refused.value.path
    assert "shiny" in str(refused.value)
