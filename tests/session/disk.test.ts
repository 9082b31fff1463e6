/** What the KV cache on disk promises: after a restart the same bits, without computing again. */
import { describe, expect, test } from "bun:test"
import { utimesSync } from "node:fs"
import { Engine } from "../../src/generate/engine.ts"
import { modelFingerprint } from "../../src/session/disk/fingerprint.ts"
import {
  ask,
  closeSaved,
  logitsOf,
  objectsIn,
  openWithDisk,
  promptIds,
  temporaryFolder,
} from "../support/disk.ts"
import { MINI_Q2, MINI_Q8, openTest } from "../support/models.ts"

/** Answers a prompt with an engine that keeps nothing. */
function cold(ids: number[], model = MINI_Q2) {
  const engine = Engine.open({ path: model }, { context: 4096, threads: 1 })
  const answer = ask(engine, ids)
  engine.close()
  const other = Engine.open({ path: model }, { context: 4096, threads: 1 })
  const { hash } = logitsOf(other, ids)
  other.close()
  return { ids: answer.ids, hash }
}

describe("DiskCache", () => {
  test("after a restart, tokens and logits are those of a cold run", async () => {
    const dir = temporaryFolder()
    const ids = promptIds(1000, 1)
    const expected = cold(ids)
    const first = openWithDisk(dir)
    expect(ask(first, ids)).toEqual({
      ids: expected.ids,
      cached: 0,
      reuse: { memory: 0, disk: 0, miss: "no pages" },
    })
    await closeSaved(first)

    const second = openWithDisk(dir)
    expect(logitsOf(second, ids)).toEqual({ hash: expected.hash, cached: 896 })
    second.close()
    const third = openWithDisk(dir)
    const reuse = { memory: 0, disk: 896 }
    expect(ask(third, ids)).toEqual({ ids: expected.ids, cached: 896, reuse })
    // Now it is live: all but the last token.
    expect(ask(third, ids).reuse).toEqual({ memory: 999, disk: 0 })
    third.close()
  })

  test("goes on from memory and disk together", async () => {
    const dir = temporaryFolder()
    const long = promptIds(1500, 2)
    const engine = openWithDisk(dir)
    ask(engine, long)
    await closeSaved(engine)
    const again = openWithDisk(dir)
    // The first 640 tokens are computed anew, since their only resume points are beyond them.
    ask(again, long.slice(0, 640))
    const { cached, reuse } = ask(again, [...long, ...promptIds(50, 3)])
    expect(cached).toBe(1408)
    expect(reuse).toEqual({ memory: 640, disk: 1408 - 640 })
    await closeSaved(again)
  })

  test("keeps resume points at turns, at every 16th page and at the end", async () => {
    const dir = temporaryFolder()
    const engine = openWithDisk(dir)
    ask(engine, promptIds(2500, 4), { marks: [300, 1000] })
    await closeSaved(engine)
    const points = objectsIn(dir).filter((p) => p.endsWith(".point"))
    expect(points).toHaveLength(4) // 256, 896, 2048, 2432
    expect(objectsIn(dir)).toHaveLength(4 + 19)
    for (const [n, expected] of [
      [255, 0],
      [300, 256],
      [1000, 896],
      [2400, 2048],
      [2500, 2432],
    ] as const) {
      const fresh = openWithDisk(dir)
      const cut = [...promptIds(2500, 4).slice(0, n), 5, 6, 7]
      expect(ask(fresh, cut).cached).toBe(expected)
      fresh.close()
    }
  })

  test("writes nothing twice, for a prefix that conversations share neither", async () => {
    const dir = temporaryFolder()
    const engine = openWithDisk(dir)
    ask(engine, promptIds(700, 5, 512), { marks: [512] })
    await engine.runtime.disk!.writer.flush(30_000)
    const before = objectsIn(dir)
    ask(engine, promptIds(700, 6, 512), { marks: [512] })
    ask(engine, promptIds(700, 5, 512), { marks: [512] })
    await closeSaved(engine)
    const after = objectsIn(dir)
    expect(before).toHaveLength(5 + 2)
    expect(after).toHaveLength(before.length + 2)
    expect(after).toEqual(expect.arrayContaining(before))
  })

  test("a point that is used again counts as new", async () => {
    const dir = temporaryFolder()
    const engine = openWithDisk(dir)
    const ids = promptIds(300, 7)
    ask(engine, ids)
    await closeSaved(engine)
    const point = objectsIn(dir).find((p) => p.endsWith(".point"))!
    utimesSync(point, 1000, 1000)
    const again = openWithDisk(dir)
    ask(again, ids)
    again.close()
    expect(Bun.file(point).lastModified).toBeGreaterThan(1_000_000_000_000)
  })

  test("makes room for what it loads, even if one sequence holds every page", async () => {
    const dir = temporaryFolder()
    const [one, two] = [promptIds(900, 8), promptIds(900, 9)]
    const expected = cold(one).ids
    const engine = openWithDisk(dir, { context: 1024 })
    ask(engine, one)
    await engine.runtime.disk!.writer.flush(30_000)
    ask(engine, two)
    await engine.runtime.disk!.writer.flush(30_000)
    const third = ask(engine, one)
    expect(third.cached).toBeGreaterThanOrEqual(768)
    expect(third.ids).toEqual(expected)
    await closeSaved(engine)
    const again = openWithDisk(dir, { context: 1024 })
    expect(ask(again, two).reuse).toEqual({ memory: 0, disk: 896 })
    expect(ask(again, one)).toMatchObject({ cached: 896, ids: expected })
    again.close()
  })
})

describe("reuse says", () => {
  test("where a prompt differs, and that a resume point is missing", () => {
    const engine = openWithDisk(temporaryFolder())
    const ids = promptIds(1000, 10)
    ask(engine, ids)
    const other = [...ids.slice(0, 500), 3, 3, 3, ...ids.slice(503)]
    expect(ask(engine, other).reuse).toEqual({
      memory: 0,
      disk: 0,
      miss: "differs at token 500 of 1000, no resume point between tokens 0 and 500",
    })
    // It differs from the answer, not from the prompt.
    const { reuse } = ask(engine, [...other, 4, 5])
    expect(reuse).toEqual({ memory: 1000, disk: 0, miss: "differs at token 1000 of 1002" })
    engine.close()
  })
})

describe("the fingerprint", () => {
  test("tells models and backends apart, and is the same every time", () => {
    const of = (path: string, backend: "cpu" | "reference") => {
      const runtime = openTest(path, backend, { context: 256 })
      const print = modelFingerprint(runtime.file, runtime.config, runtime.backend)
      runtime.close()
      return print
    }
    expect(of(MINI_Q2, "cpu")).toBe(of(MINI_Q2, "cpu"))
    const all = [of(MINI_Q2, "cpu"), of(MINI_Q8, "cpu"), of(MINI_Q2, "reference")]
    expect(new Set(all).size).toBe(3)
  })

  test("differs when one tensor does", async () => {
    const bytes = new Uint8Array(await Bun.file(MINI_Q2).arrayBuffer())
    const of = () => {
      const engine = Engine.open({ bytes, name: "patched" }, { context: 256 })
      const { file, config, backend } = engine.runtime
      const tensor = [...file.tensors.values()].at(-1)!
      const print = modelFingerprint(file, config, backend)
      engine.close()
      return { print, tensor }
    }
    const before = of()
    bytes[before.tensor.offset + Math.floor(before.tensor.bytes / 2)]! ^= 1
    expect(of().print).not.toBe(before.print)
  })

  test("pages of another model are never used", async () => {
    const dir = temporaryFolder()
    const ids = promptIds(600, 11)
    const engine = openWithDisk(dir)
    ask(engine, ids)
    await closeSaved(engine)
    const other = openWithDisk(dir, { model: MINI_Q8 })
    expect(ask(other, ids)).toMatchObject({ cached: 0, ids: cold(ids, MINI_Q8).ids })
    await closeSaved(other)
  })
})
