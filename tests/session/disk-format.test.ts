/** A file that is not exactly what was written is never used. */
import { beforeAll, describe, expect, test } from "bun:test"
import {
  copyFileSync,
  cpSync,
  lstatSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs"
import {
  decodeObject,
  encodeObject,
  FORMAT,
  isObject,
  type ObjectId,
  pageKey,
  rootKey,
} from "../../src/session/disk/format.ts"
import {
  ask,
  closeSaved,
  objectsIn,
  openWithDisk,
  promptIds,
  temporaryFolder,
} from "../support/disk.ts"
import { randomBelow } from "../support/fuzz-gguf.ts"

const FINGERPRINT = "0123456789abcdef".repeat(4)
const TOKENS = Int32Array.from({ length: 128 }, (_, i) => 1000 * i)
const PARENT = rootKey(FINGERPRINT)
const PAGE: ObjectId = {
  kind: "page",
  fingerprint: FINGERPRINT,
  key: pageKey(PARENT, TOKENS),
  parent: PARENT,
  depth: 1,
}
const DATA = Uint8Array.from({ length: 5000 }, (_, i) => i * 7)
const FILE = encodeObject(PAGE, TOKENS, DATA.length, (into) => into.set(DATA))

describe("decodeObject", () => {
  test("gives back what encodeObject was given", () => {
    expect(decodeObject(FILE)).toEqual({ ...PAGE, tokens: TOKENS, data: DATA })
    const point: ObjectId = { ...PAGE, kind: "point" }
    const none = new Int32Array(0)
    const file = encodeObject(point, none, DATA.length, (into) => into.set(DATA))
    expect(decodeObject(file)).toEqual({ ...point, tokens: none, data: DATA })
  })

  test("finds every flipped bit", () => {
    const copy = FILE.slice()
    for (let i = 0; i < copy.length; i++)
      for (const flip of [1, 0x80, 1 << (i % 8), 0xff]) {
        copy[i]! ^= flip
        expect(typeof decodeObject(copy)).toBe("string")
        copy[i]! ^= flip
      }
    expect(typeof decodeObject(copy)).toBe("object")
  })

  test("finds every cut, and what was added", () => {
    for (let n = 0; n < FILE.length; n++)
      expect(typeof decodeObject(FILE.subarray(0, n))).toBe("string")
    expect(typeof decodeObject(Uint8Array.from([...FILE, 0]))).toBe("string")
  })

  test("finds a key that is not that of the tokens, though the checksum is right", () => {
    const key = pageKey(PAGE.key, TOKENS)
    const file = encodeObject({ ...PAGE, key }, TOKENS, 10, () => {})
    expect(decodeObject(file)).toBe("its key is not that of its tokens")
  })

  test("any other identity is not what was looked for", () => {
    const other: Partial<ObjectId>[] = [
      { kind: "point" },
      { fingerprint: "f".repeat(64) },
      { key: "0".repeat(32) },
      { parent: "1".repeat(32) },
      { depth: 2 },
    ]
    expect(isObject(PAGE, { ...PAGE })).toBe(true)
    for (const o of other) expect(isObject(PAGE, { ...PAGE, ...o })).toBe(false)
  })
})

test("the bytes of format 1: if they change, raise FORMAT, or old files give other answers", async () => {
  const dir = temporaryFolder()
  const engine = openWithDisk(dir)
  ask(engine, promptIds(140, 1))
  await closeSaved(engine)
  const hashes = objectsIn(dir).map((path) => {
    const object = decodeObject(readFileSync(path))
    if (typeof object === "string") throw new Error(object)
    return `${object.kind} ${Bun.hash.xxHash3(object.data).toString(16)}`
  })
  expect(FORMAT).toBe(1)
  expect(hashes).toEqual(["page db7c4aa27b4aec76", "point 6f254a0b52918cb2"])
})

describe("a damaged folder", () => {
  const ids = promptIds(300, 1)
  const original = temporaryFolder()
  let answer: number[] = []

  beforeAll(async () => {
    const engine = openWithDisk(original)
    answer = ask(engine, ids).ids
    await closeSaved(engine)
  })

  test("flips at 10,000 places of real files are all found", () => {
    const below = randomBelow(5)
    const files = objectsIn(original).map((path) => new Uint8Array(readFileSync(path)))
    expect(files).toHaveLength(3)
    let missed = 0
    for (let i = 0; i < 10_000; i++) {
      const file = files[i % files.length]!
      const at = below(file.length)
      const flip = 1 + below(255)
      file[at]! ^= flip
      if (typeof decodeObject(file) !== "string") missed++
      file[at]! ^= flip
    }
    expect(missed).toBe(0)
  })

  const damages: [string, (path: string, other: string) => void][] = [
    ["flipped", (path) => flipIn(path, 2000)],
    ["cut", (path) => truncateSync(path, 1000)],
    ["empty", (path) => truncateSync(path, 0)],
    ["too long", (path) => writeFileSync(path, "x", { flag: "a" })],
    ["another's", (path, other) => copyFileSync(other, path)],
    ["a link", linkAway],
    ["made for another parent", (path) => renameSync(path, path.replace(/[0-9a-f]{4}\./, "0000."))],
  ]
  const kinds = ["page", "point"].flatMap((kind) =>
    damages.map(([name, damage]) => [kind, name, damage] as const),
  )

  test.each(kinds)("a %s that is %s is a miss, and goes", async (kind, _, damage) => {
    const dir = temporaryFolder()
    cpSync(original, dir, { recursive: true })
    const files = objectsIn(dir)
    const path = files.find((p) => p.endsWith(kind))!
    damage(
      path,
      files.find((p) => p.endsWith("page") && p !== path)!,
    )
    const engine = openWithDisk(dir)
    engine.runtime.disk!.writer.close() // reads only
    expect(ask(engine, ids)).toMatchObject({ ids: answer, cached: 0 })
    engine.close()
    expect(lstatSync(path, { throwIfNoEntry: false })).toBeUndefined()
    // Who computes it writes it again.
    const writing = openWithDisk(dir)
    ask(writing, ids)
    await closeSaved(writing)
    const reading = openWithDisk(dir)
    expect(ask(reading, ids)).toMatchObject({ ids: answer, cached: 256 })
    reading.close()
  })
})

function flipIn(path: string, at: number): void {
  const bytes = readFileSync(path)
  bytes[at]! ^= 4
  writeFileSync(path, bytes)
}

function linkAway(path: string): void {
  renameSync(path, `${path}.moved`)
  symlinkSync(`${path}.moved`, path)
}
