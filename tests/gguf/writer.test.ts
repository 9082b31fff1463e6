import { afterAll, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { GgufError } from "../../src/errors.ts"
import { readGguf } from "../../src/gguf/reader.ts"
import { bytesSource } from "../../src/gguf/source.ts"
import { GgufWriter } from "../../src/gguf/writer.ts"

const dir = mkdtempSync(join(tmpdir(), "ds4-writer-"))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

function read(bytes: Uint8Array) {
  return readGguf(bytesSource(bytes, "test"))
}

function everyKey(): GgufWriter {
  return new GgufWriter()
    .set("a.u8", "u8", 255)
    .set("a.i8", "i8", -128)
    .set("a.u16", "u16", 65_535)
    .set("a.i16", "i16", -32_768)
    .set("a.u32", "u32", 0xffff_ffff)
    .set("a.i32", "i32", -0x8000_0000)
    .set("a.f32", "f32", 1.5)
    .set("a.bool", "bool", true)
    .set("a.str", "str", "Ġ你好 \u{1F600}\0end")
    .set("a.u64", "u64", 2n ** 64n - 1n)
    .set("a.i64", "i64", -(2n ** 63n))
    .set("a.small", "u64", 42)
    .set("a.f64", "f64", Math.PI)
    .setArray("b.u8", "u8", [0, 255])
    .setArray("b.i16", "i16", [-1, 1])
    .setArray("b.u32", "u32", [0, 0xffff_ffff])
    .setArray("b.i32", "i32", [-1, 7])
    .setArray("b.u64", "u64", [1, 2n ** 63n])
    .setArray("b.i64", "i64", [-1, 2n ** 60n])
    .setArray("b.f32", "f32", [0.5, -2])
    .setArray("b.f64", "f64", [0.1])
    .setArray("b.bool", "bool", [true, false])
    .setArray("b.str", "str", ["", "a", "Ġt", "\u{1F600}", ""])
    .setArray("b.nul", "str", ["\0", "a\0", "", "\0".repeat(8), "\0".repeat(17), "b"])
    .setArray("b.none", "str", [])
}

describe("GgufWriter", () => {
  test("the reader gives back every key of every type", () => {
    const { metadata } = read(everyKey().toBytes())
    const plain = [...metadata].map(([key, v]) => [key, v.type === "arr" ? v.values() : v.value])
    expect(Object.fromEntries(plain)).toEqual({
      "a.u8": 255,
      "a.i8": -128,
      "a.u16": 65_535,
      "a.i16": -32_768,
      "a.u32": 0xffff_ffff,
      "a.i32": -0x8000_0000,
      "a.f32": 1.5,
      "a.bool": true,
      "a.str": "Ġ你好 \u{1F600}\0end",
      "a.u64": 2n ** 64n - 1n,
      "a.i64": -(2n ** 63n),
      "a.small": 42,
      "a.f64": Math.PI,
      "b.u8": [0, 255],
      "b.i16": [-1, 1],
      "b.u32": [0, 0xffff_ffff],
      "b.i32": [-1, 7],
      "b.u64": [1, 2n ** 63n],
      "b.i64": [-1, 2n ** 60n],
      "b.f32": [0.5, -2],
      "b.f64": [0.1],
      "b.bool": [true, false],
      "b.str": ["", "a", "Ġt", "\u{1F600}", ""],
      "b.nul": ["\0", "a\0", "", "\0".repeat(8), "\0".repeat(17), "b"],
      "b.none": [],
    })
  })

  test("copyKeys() gives the same bytes again", () => {
    const bytes = everyKey().toBytes()
    expect(new GgufWriter().copyKeys(read(bytes).metadata).toBytes()).toEqual(bytes)
  })

  test("tensors lie where layout() says, aligned, with their bytes", () => {
    const writer = new GgufWriter()
      .set("general.alignment", "u32", 64)
      .tensor("one", "F32", [3], new Uint8Array(Float32Array.of(1, 2, 3).buffer))
      .tensor("two", "Q8_0", [32, 2, 2], function* () {
        for (let i = 0; i < 4; i++) yield new Uint8Array(34).fill(i)
      })
      .tensor("zeros", "F16", [5])
    const bytes = writer.toBytes()
    const file = read(bytes)
    expect(file.alignment).toBe(64)
    expect([...file.tensors.values()]).toEqual(writer.layout().tensors)
    for (const tensor of file.tensors.values()) expect(tensor.offset % 64).toBe(0)
    const two = file.tensors.get("two")!
    expect(two.dims).toEqual([32, 2, 2])
    expect(two.bytes).toBe(136)
    const data = file.source.bytes(two.offset, two.bytes)
    expect([data[0], data[34], data[135]]).toEqual([0, 1, 3])
  })

  test("toFile() writes what toBytes() gives, sparse or not", async () => {
    for (const sparse of [false, true]) {
      const writer = everyKey().tensor("t", "F32", [2], new Uint8Array(8).fill(7))
      writer.tensor("hole", "F32", [1000])
      const path = join(dir, `s${sparse}.gguf`)
      writer.toFile(path, { sparse })
      expect(await Bun.file(path).bytes()).toEqual(writer.toBytes())
    }
  })

  test("toFile() makes a sparse file beyond 4 GiB that takes no space", () => {
    const path = join(dir, "big.gguf")
    const writer = new GgufWriter().tensor("big", "F32", [4096, 4096, 100])
    writer.tensor("last", "F32", [1])
    writer.toFile(path, { sparse: true })
    const { size, blocks } = statSync(path)
    expect(size).toBe(writer.layout().size)
    expect(size).toBeGreaterThan(6.7e9)
    expect(blocks * 512).toBeLessThan(1e6)
  })

  test("toFile() leaves nothing behind when a tensor's data has the wrong length", () => {
    const path = join(dir, "bad.gguf")
    const writer = new GgufWriter().tensor("t", "F32", [2], () => [new Uint8Array(7)])
    expect(() => writer.toFile(path)).toThrow('Cannot write tensor "t": 7 bytes, expected 8')
    expect([...new Bun.Glob("bad*").scanSync(dir)]).toEqual([])
  })

  test("refuses values outside their type, taken names and wrong shapes", () => {
    const writer = new GgufWriter()
    const refused: (() => unknown)[] = [
      () => writer.set("k", "u8", 256),
      () => writer.set("k", "u32", -1),
      () => writer.set("k", "u32", 1.5),
      () => writer.set("k", "u64", -1n),
      () => writer.set("k", "i64", 2n ** 63n),
      () => writer.set("k", "str", 1),
      () => writer.set("k", "bool", 1),
      () => writer.set("", "u8", 1),
      () => writer.set("twice", "u8", 1).set("twice", "u8", 2),
      () => writer.set("general.alignment", "u32", 24),
      () => writer.tensor("t", "Q8_0", [33]),
      () => writer.tensor("t", "F32", [2], new Uint8Array(4)),
    ]
    for (const action of refused) expect(action).toThrow()
    expect(() => writer.set("", "u8", 1)).toThrow(GgufError)
  })
})
