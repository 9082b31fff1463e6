/** Broken and hostile files: every one is refused by a GgufError that names the place. */
import { describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { GgufError } from "../../src/errors.ts"
import { readGguf } from "../../src/gguf/reader.ts"
import { bytesSource } from "../../src/gguf/source.ts"
import { readConfig } from "../../src/model/config.ts"
import { fuzzGguf, smallFile } from "../support/fuzz-gguf.ts"
import { MINI_Q2 } from "../support/models.ts"

const original = smallFile()
const read = (bytes: Uint8Array) => readConfig(readGguf(bytesSource(bytes, "hostile")).metadata)

/** Where the value of a scalar key begins. */
function valueOf(key: string): number {
  return Buffer.from(original).indexOf(key) + key.length + 4
}

function patch(at: number, value: bigint | number): Uint8Array {
  const bytes = original.slice()
  const view = new DataView(bytes.buffer)
  if (typeof value === "bigint") view.setBigUint64(at, value, true)
  else view.setUint32(at, value, true)
  return bytes
}

function replace(from: string, to: string): Uint8Array {
  const bytes = Buffer.from(original)
  bytes.write(to, bytes.indexOf(from), "latin1")
  return new Uint8Array(bytes)
}

const text = (s: string) => new TextEncoder().encode(s)
const tensor = Buffer.from(original).indexOf("blk.0.F32.weight") + "blk.0.F32.weight".length

const CASES: Record<string, [bytes: Uint8Array, says: RegExp]> = {
  "an empty file": [new Uint8Array(0), /empty|end|GGUF/i],
  "a zip file": [text(`PK\x03\x04${"x".repeat(100)}`), /GGUF/],
  "a web page": [
    text("<!DOCTYPE html><html><body>not found</body></html>".padEnd(200)),
    /HTML|page/i,
  ],
  "an LFS pointer": [
    text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 86720111488\n"),
    /LFS/,
  ],
  "version 1": [patch(4, 1), /version/],
  "a big-endian file": [patch(4, 0x03000000), /endian|version/],
  "2^62 tensors": [patch(8, 1n << 62n), /tensor/],
  "2^40 keys": [patch(16, 1n << 40n), /key|metadata/],
  "a key of 2^60 bytes": [patch(24, 1n << 60n), /key|long|byte/],
  "an empty key": [patch(24, 0n), /key/i],
  "a value of unknown type": [patch(valueOf("deepseek4.block_count") - 4, 99), /type/],
  "a block count of another type": [patch(valueOf("deepseek4.block_count") - 4, 8), /./],
  "4 billion layers": [patch(valueOf("deepseek4.block_count"), 0xffffffff), /block_count/],
  "no width": [patch(valueOf("deepseek4.embedding_length"), 0), /embedding_length/],
  "no heads": [patch(valueOf("deepseek4.attention.head_count"), 0), /head_count/],
  "an odd rotation": [patch(valueOf("deepseek4.rope.dimension_count"), 63), /rope|dimension/],
  "more experts used than there are": [
    patch(valueOf("deepseek4.expert_used_count"), 60),
    /expert_used_count/,
  ],
  "another architecture": [replace("deepseek4", "deepseek3"), /deepseek3/],
  "a tensor of 9 dims": [patch(tensor, 9), /dim/],
  "a tensor of a dim of 2^42": [patch(tensor + 4, 1n << 42n), /dim|size|blk\.0\.F32/],
  "a tensor of an unknown type": [patch(tensor + 4 + 16, 77), /77/],
  "a tensor beyond the file": [patch(tensor + 4 + 16 + 4, 1n << 40n), /blk\.0\.F32/],
  "an unaligned tensor": [patch(tensor + 4 + 16 + 4, 1n), /align|blk\.0\.F32/],
}

describe("readGguf() refuses", () => {
  for (const [name, [bytes, says]] of Object.entries(CASES))
    test(name, () => {
      expect(() => read(bytes)).toThrow(GgufError)
      expect(() => read(bytes)).toThrow(says)
    })

  test("every truncation of a file", () => {
    for (let n = 0; n < original.length; n++)
      expect(() => readGguf(bytesSource(original.subarray(0, n), "cut"))).toThrow(GgufError)
  })

  test("some 24,000 mutations, or reads them, each at once", () => {
    for (const seed of [1, 2, 3, 4]) {
      const report = fuzzGguf(6_000, seed)
      expect(report.wrong).toEqual([])
      expect(report.refused).toBeGreaterThan(1_000)
    }
  }, 60_000)

  test("an eos id beyond the vocabulary and NaN in a norm, when a model is bound", async () => {
    const { openRuntime } = await import("../../src/session/open.ts")
    const bytes = new Uint8Array(readFileSync(MINI_Q2))
    const file = readGguf(bytesSource(bytes, "mini"))
    const norm = file.tensors.get("blk.0.attn_norm.weight")!
    new DataView(bytes.buffer).setFloat32(norm.offset + 8, Number.NaN, true)
    expect(() =>
      openRuntime({ bytes, name: "mini" }, { backend: "reference", context: 256 }),
    ).toThrow(/blk\.0\.attn_norm\.weight.*NaN/)
  })
})
