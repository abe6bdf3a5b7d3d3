from zlib import crc32

import pytest

from processor.kafka.partitioner import PARTITIONERS, murmur2

_OF_KAFKA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
_OF_LIBRDKAFKA = {
    b"": 0x106E08D9,
    b"4": 0x5A4B5CA1,
    b"34": 0x873930DA,
    b"234": 0xE7C009CA,
    b"1234": 0x9FC97B14,
    b"giberish123456789": 0x8F552B0C,
    b"kafka": 0xD067CF64,
}


@pytest.mark.parametrize(("key", "signed"), _OF_KAFKA.items())
def test_murmur2_equals_the_java_clients(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed & 0xFFFFFFFF


@pytest.mark.parametrize(("key", "unsigned"), _OF_LIBRDKAFKA.items())
def test_murmur2_equals_librdkafka(key: bytes, unsigned: int) -> None:
    assert murmur2(key) == unsigned


def test_sign_of_the_hash_is_cleared_before_the_division() -> None:
    assert PARTITIONERS["murmur2"](b"21", 7) == (-973932308 & 0x7FFFFFFF) % 7
    assert PARTITIONERS["crc32"](b"21", 7) == crc32(b"21") % 7
