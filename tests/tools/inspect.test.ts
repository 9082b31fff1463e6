/** `inspect`: what it says of good files, and what of broken and foreign ones. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "bun:test"
import { readGguf } from "../../src/gguf/reader.ts"
import { bytesSource } from "../../src/gguf/source.ts"
import { readConfig } from "../../src/model/config.ts"
import { memoryReport } from "../../src/tools/inspect-memory.ts"
import { inspectModel } from "../../src/tools/inspect-model.ts"
import { count, memoryText, modelText, size, tensorText } from "../../src/tools/inspect-print.ts"
import { FULL_SHAPE } from "../../src/tools/synthetic-shape.ts"
import { syntheticModel } from "../../src/tools/synthetic.ts"

const MINI_Q2 = join(import.meta.dir, "../../models/ds4-mini/ds4-mini-q2.gguf")
const mini = new Uint8Array(readFileSync(MINI_Q2))
const open = (bytes: Uint8Array) => readGguf(bytesSource(bytes, "model.gguf"))
const inspect = (bytes: Uint8Array) => inspectModel(open(bytes))
const plain = { bold: (text: string) => text, dim: (text: string) => text }

/** A file of the full model's size whose header is there and whose data reads as zeros. */
function fullSize() {
  const { header, size: bytes } = syntheticModel({ shape: FULL_SHAPE, sparse: true }).layout()
  return readGguf({
    name: "full.gguf",
    size: bytes,
    bytes(offset, length) {
      const piece = new Uint8Array(length)
      if (offset < header.length) piece.set(header.subarray(offset, offset + length))
      return piece
    },
    address: () => 0,
    close: () => {},
  })
}

describe("inspectModel()", () => {
  test("reports ds4-mini", () => {
    const r = inspect(mini)
    expect(r).toMatchObject({ name: "ds4-mini", shape: "mini", bytes: mini.byteLength })
    expect(r.recipe).toEqual({ name: "q2", others: [] })
    expect(r.parameters.total).toBe(13_987_705)
    expect(r.extraTensors).toEqual([])
    expect(r.families.reduce((n, f) => n + f.tensors, 0)).toBe(open(mini).tensors.size)
    const experts = r.families.find((f) => f.family === "expertGateUp")
    expect(experts).toEqual({
      family: "expertGateUp",
      type: "IQ2_XXS",
      tensors: 12,
      parameters: 12 * 8 * 256 * 256,
      bytes: (12 * 8 * 256 * 256 * 66) / 256,
    })
    expect(r.metadata["tokenizer.ggml.tokens"]).toMatchObject({ elem: "str", count: 2048 })
    expect(JSON.parse(JSON.stringify(r))).toEqual(r)
  })

  test("gives the figures of the specification for the full model", () => {
    const r = inspectModel(fullSize())
    expect(r.shape).toBe("full model")
    expect(r.recipe).toEqual({ name: "q2", others: [] })
    expect(r.bytes / 1e9).toBeCloseTo(86.7, 1)
    expect(r.parameters.total / 1e9).toBeCloseTo(284.3, 1)
    expect(r.parameters.active / 1e9).toBeCloseTo(13.27, 2)
    expect(r.bytesPerToken.long / 1e9).toBeCloseTo(9.556, 2)
    expect(r.bytesPerToken.short / 1e9).toBeCloseTo(9.193, 2)
    expect(r.bytesPerToken.indexedFrom).toBe(2051)
  })

  test("names shapes and tensors that the model does not use", () => {
    const writer = syntheticModel().tensor("blk.99.extra.weight", "F32", [8], new Uint8Array(32))
    const r = inspect(writer.toBytes())
    expect(r.shape).toBe("other shape")
    expect(r.extraTensors).toEqual(["blk.99.extra.weight"])
    expect(r.families.find((f) => f.family === "not used")).toMatchObject({ tensors: 1, bytes: 32 })
  })

  test("prints everything without control characters of the file", () => {
    const bytes = syntheticModel().set("general.description", "str", "a\x1b[2Jb\n").toBytes()
    const file = open(bytes)
    const text = [
      modelText(inspectModel(file), plain),
      tensorText(file, plain),
      memoryText(memoryReport(file, readConfig(file.metadata), { context: 1000 }), plain),
    ].join("\n")
    expect(text).toContain("a·[2Jb·")
    expect(text).not.toContain("\x1b")
    expect(text).toContain("KV pages")
    expect(text).toContain("blk.2.indexer.attn_q_b.weight")
  })

  test("numbers read well", () => {
    expect([0, 999, 1000, 1234, 999_600, 86_720_111_488].map(size)).toEqual(
      ["0 B", "999 B", "1.00 kB", "1.23 kB", "1.00 MB", "86.7 GB"], // prettier-ignore
    )
    expect(count(1048576)).toBe("1,048,576")
  })
})

/** Changes bytes of the file after a key's type: its value. */
function edited(change: (b: Buffer, at: (key: string) => number) => void): Uint8Array {
  const copy = Buffer.from(mini)
  change(copy, (key) => copy.indexOf(key) + key.length + 4)
  return new Uint8Array(copy.buffer, copy.byteOffset, copy.byteLength)
}

const renamed = (from: string, to: string) =>
  edited((b) => {
    expect(to.length).toBe(from.length)
    b.write(to, b.indexOf(from))
  })

const hostile: Record<string, [bytes: Uint8Array, message: RegExp]> = {
  "empty file": [new Uint8Array(0), /empty file/],
  "an archive": [Buffer.from(`PK\x03\x04${"x".repeat(100)}`), /ZIP archive/],
  "a web page": [
    Buffer.from("<!DOCTYPE html><html><body>Sign in</body></html>"),
    /HTML page.*GGUF/,
  ],
  "cut in the header": [mini.subarray(0, 40), /byte/],
  "cut in the metadata": [mini.subarray(0, 3000), /byte/],
  "cut in the data": [mini.subarray(0, mini.length - 4096), /cut off or damaged/],
  "version 1": [edited((b) => b.writeUInt32LE(1, 4)), /version 1/],
  "2^62 tensors": [edited((b) => b.writeBigUInt64LE(1n << 62n, 8)), /number of tensors/],
  "2^40 keys": [edited((b) => b.writeBigUInt64LE(1n << 40n, 16)), /number of keys/],
  "a key of 2^60 bytes": [edited((b) => b.writeBigUInt64LE(1n << 60n, 24)), /key 0/],
  "block_count as a string": [
    edited((b, at) => b.writeUInt32LE(8, at("deepseek4.block_count") - 4)),
    /block_count/,
  ],
  "block_count 4 billion": [
    edited((b, at) => b.writeUInt32LE(0xffffffff, at("deepseek4.block_count"))),
    /block_count" is 4294967295/,
  ],
  "block_count 7 of 6": [
    edited((b, at) => b.writeUInt32LE(7, at("deepseek4.block_count"))),
    /has 6 entries for 7 layers/,
  ],
  "embedding_length 0": [
    edited((b, at) => b.writeUInt32LE(0, at("deepseek4.embedding_length"))),
    /embedding_length" is 0/,
  ],
  "embedding_length 512": [
    edited((b, at) => b.writeUInt32LE(512, at("deepseek4.embedding_length"))),
    /"token_embd.weight": shape is \[256, 2048\], expected \[512, 2048\]/,
  ],
  "another architecture": [renamed("deepseek4", "deepseek3"), /"deepseek3"; ds4 runs "deepseek4"/],
  "an end token that is none": [
    edited((b, at) => b.writeUInt32LE(99_999, at("tokenizer.ggml.eos_token_id"))),
    /eos_token_id" is 99999/,
  ],
  "a tensor of another converter": [
    renamed("blk.3.attn_kv_a_norm.weight", "blk.3.attn_latent_n.weight_"),
    /"blk.3.attn_kv_a_norm.weight" is missing.*"blk.3.attn_latent_n.weight_" instead.*converter/,
  ],
  "a key of another converter": [
    renamed("deepseek4.hyper_connection.count", "deepseek4.hc_connection.count_hc"),
    /"deepseek4.hyper_connection.count" is missing.*"deepseek4.hc_connection.count_hc" instead/,
  ],
}

describe("a file that cannot be run is refused in one short line", () => {
  for (const [name, [bytes, message]] of Object.entries(hostile))
    test(name, () => {
      let said = ""
      try {
        inspect(new Uint8Array(bytes))
      } catch (error) {
        expect((error as Error).name).toBe("GgufError")
        said = (error as Error).message
      }
      expect(said).toMatch(message)
      expect(said.length).toBeLessThan(600)
      expect(said).not.toContain("\n")
    })

  test("NaN in a norm", () => {
    const { offset } = open(mini).tensors.get("output_norm.weight")!
    expect(() => inspect(edited((b) => b.writeFloatLE(NaN, offset + 8)))).toThrow(
      `Tensor "output_norm.weight" holds NaN at 2`,
    )
  })

  test("a hash table that names an expert beyond the last", () => {
    const { offset } = open(mini).tensors.get("blk.1.ffn_gate_tid2eid.weight")!
    expect(() => inspect(edited((b) => b.writeInt32LE(8, offset + 4)))).toThrow(
      `names expert 8 of 8`,
    )
  })
})

describe("memoryReport()", () => {
  test("accounts for the full model as spec §17.2 does", () => {
    const file = fullSize()
    const c = readConfig(file.metadata)
    const at = (context: number) => memoryReport(file, c, { context, memoryBytes: 128e9 })
    // The specification counts 583 bytes a row, unpadded, and a window without slack.
    const specification: [number, number][] = [
      [32_768, 112.7],
      [1_048_576, 3511.9],
    ]
    for (const [context, mebibytes] of specification) {
      const m = at(context)
      const raw = 43 * 128 * 584
      expect((m.pages.bytes + raw) / 2 ** 20 / mebibytes).toBeCloseTo(1, 2)
      expect(m.pages.count).toBe(context / 128)
      expect(m.machine).toMatchObject({ fits: true, weightsFit: true, largestContext: 1_048_576 })
    }
    expect(at(32_768).resumePoints.bytesEach / 1e6).toBeCloseTo(3.6, 0)
    expect(at(32_768).pages.bytesEach / 1e6).toBeCloseTo(0.45, 1)
    expect(at(1_048_576).readPerToken / 1e6).toBeCloseTo(479, -1)
  })

  test("says when it does not fit and what would", () => {
    const file = fullSize()
    const c = readConfig(file.metadata)
    const context = 1_048_576
    const tight = memoryReport(file, c, { context, memoryBytes: file.source.size + 1e9 }).machine
    expect(tight.fits).toBe(false)
    expect(tight.largestContext).toBeGreaterThan(1000)
    const most = tight.largestContext
    const fitting = memoryReport(file, c, { context: most, memoryBytes: file.source.size + 1e9 })
    expect(fitting.machine.fits).toBe(true)
    expect(
      fitting.total + fitting.pages.bytesEach + fitting.resumePoints.bytesEach,
    ).toBeGreaterThan(1e9)
    const small = memoryReport(file, c, { context, memoryBytes: 16e9 }).machine
    expect(small).toMatchObject({ weightsFit: false, fits: true })
  })
})
