/** Our reader beside an independent one, npm's @huggingface/gguf. */
import { gguf } from "@huggingface/gguf"
import { afterAll, describe, expect, test } from "bun:test"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { readGguf } from "../../src/gguf/reader.ts"
import { bytesSource } from "../../src/gguf/source.ts"
import { GGML_TYPES } from "../../src/gguf/types.ts"
import { tinyModel } from "../../src/tools/synthetic.ts"
import { sharedDir } from "../shared.ts"
import { MINI_Q2, MINI_Q8 } from "../support/models.ts"

const dir = mkdtempSync(join(tmpdir(), "ds4-agreement-"))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
writeFileSync(join(dir, "tiny.gguf"), tinyModel())

const shared = sharedDir()
const more = shared
  ? ["golden", "mini"].flatMap((d) =>
      readdirSync(join(shared, d))
        .filter((f) => f.endsWith(".gguf"))
        .map((f) => join(shared, d, f)),
    )
  : []

/** Numbers of any width as text, so that bigint and number compare. */
const plain = (value: unknown): unknown =>
  Array.isArray(value) ? value.map(plain) : typeof value === "bigint" ? Number(value) : value

describe.each([MINI_Q8, MINI_Q2, join(dir, "tiny.gguf"), ...more])("%s", (path) => {
  test("has the same metadata and tensors for both readers", async () => {
    const theirs = await gguf(path, { allowLocalFile: true })
    const ours = readGguf(bytesSource(new Uint8Array(readFileSync(path)), path))
    for (const [key, value] of ours.metadata) {
      const found = plain((theirs.metadata as unknown as Record<string, unknown>)[key])
      expect([key, found]).toEqual([
        key,
        plain(value.type === "arr" ? value.values() : value.value),
      ])
    }
    const named = new Map(theirs.tensorInfos.map((t) => [t.name, t]))
    expect(named.size).toBe(ours.tensors.size)
    for (const t of ours.tensors.values()) {
      const other = named.get(t.name)!
      expect(other.shape.map(Number)).toEqual([...t.dims])
      expect(Number(other.dtype)).toBe(GGML_TYPES[t.type].id)
      expect(Number(other.offset)).toBe(t.offset - ours.dataStart)
    }
  })
})
