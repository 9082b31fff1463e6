/** What is removed from a full folder: the least useful for its bytes, and never a page that another
 *  one needs. */
import { describe, expect, test } from "bun:test"
import { readdirSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { chainsOf, chooseVictims } from "../../src/session/disk/evict.ts"
import { type Entry, KvFolder } from "../../src/session/disk/folder.ts"
import { rootKey } from "../../src/session/disk/format.ts"
import {
  ask,
  closeSaved,
  objectsIn,
  openWithDisk,
  promptIds,
  temporaryFolder,
} from "../support/disk.ts"
import { randomBelow } from "../support/fuzz-gguf.ts"

const MODEL = "00112233445566ff"
const NOW = 2e12
const HOUR = 3_600_000
const [PAGE_BYTES, POINT_BYTES] = [450, 3600]

/** A chain "a1", "a2" … under `parent`; `points` says at which depths there are resume points, and how
 *  many hours ago each was used. */
function chain(name: string, n: number, points: Record<number, number>, parent?: string): Entry[] {
  const entries: Entry[] = []
  for (let i = 1; i <= n; i++) {
    const above = i === 1 ? (parent ?? rootKey(MODEL)) : `${name}${i - 1}`
    const object = { model: MODEL, key: `${name}${i}`, parent: above }
    const age = (points[i] ?? 24) * HOUR
    const at = (kind: "page" | "point", bytes: number) =>
      entries.push({ ...object, path: `${kind} ${object.key}`, kind, bytes, usedAt: NOW - age })
    at("page", PAGE_BYTES)
    if (i in points) at("point", POINT_BYTES)
  }
  return entries
}

const total = (entries: readonly Entry[]) => entries.reduce((sum, e) => sum + e.bytes, 0)
const paths = (entries: readonly Entry[]) => entries.map((e) => e.path)

describe("chooseVictims", () => {
  test("takes nothing that need not go", () => {
    const entries = chain("a", 16, { 16: 1 })
    expect(chooseVictims(entries, total(entries), NOW)).toEqual([])
  })

  test("takes the older of two equal conversations whole, last page first", () => {
    const [old, fresh] = [chain("a", 4, { 4: 48 }), chain("b", 4, { 4: 1 })]
    const victims = chooseVictims([...old, ...fresh], total(fresh), NOW)
    expect(paths(victims)).toEqual(["point a4", "page a4", "page a3", "page a2", "page a1"])
  })

  test("takes the point that saves fewer tokens for its bytes", () => {
    const entries = chain("a", 32, { 16: 1, 31: 1, 32: 1 })
    const [first] = chooseVictims(entries, total(entries) - 1, NOW)
    expect(first!.path).toBe("point a32") // one page beyond the point before it
  })

  test("keeps what two conversations share as long as one needs it", () => {
    const shared = chain("s", 8, {})
    const [a, b] = [chain("a", 2, { 2: 48 }, "s8"), chain("b", 2, { 2: 1 }, "s8")]
    const victims = chooseVictims([...shared, ...a, ...b], total(shared) + total(b), NOW)
    expect(paths(victims)).toEqual(["point a2", "page a2", "page a1"])
  })

  test("takes orphans and pages without a point first, but not those just written", () => {
    const good = chain("a", 16, { 16: 1 })
    const orphans = chain("o", 1, { 1: 1 }, "gone")
    const useless = chain("u", 2, {})
    const young = chain("y", 2, {}).map((e) => ({ ...e, usedAt: NOW }))
    const all = [...good, ...orphans, ...useless, ...young]
    const victims = chooseVictims(all, total(good) + total(young), NOW)
    expect(paths(victims).toSorted()).toEqual(paths([...orphans, ...useless]).toSorted())
    expect(chooseVictims(all, 0, NOW)).toHaveLength(all.length)
  })

  test("never leaves an orphan, and reaches its target, whatever the tree", () => {
    const below = randomBelow(11)
    for (let run = 0; run < 100; run++) {
      const entries: Entry[] = []
      const parents = [rootKey(MODEL)]
      for (let i = 0; i < 60; i++) {
        const object = { model: MODEL, key: `k${i}`, parent: parents[below(parents.length)]! }
        const usedAt = NOW - below(100) * HOUR
        entries.push({ ...object, path: `page ${i}`, kind: "page", bytes: PAGE_BYTES, usedAt })
        if (below(3) === 0)
          entries.push({ ...object, path: `point ${i}`, kind: "point", bytes: POINT_BYTES, usedAt })
        parents.push(object.key)
      }
      const target = below(total(entries))
      const victims = new Set(chooseVictims(entries, target, NOW))
      const left = entries.filter((e) => !victims.has(e))
      expect(total(left)).toBeLessThanOrEqual(target)
      expect(chainsOf(left).orphans).toEqual([])
    }
  })

  test("is quick for a full folder of the full model, with one long chain in it", () => {
    const entries = [
      chain(
        "l",
        5000,
        Object.fromEntries(
          Array(5000)
            .entries()
            .map(([i]) => [i, i % 50]),
        ),
      ),
    ]
    for (let c = 0; c < 200; c++) entries.push(chain(`c${c}-`, 20, { 16: c, 20: c }))
    const all = entries.flat()
    const victims = chooseVictims(all, total(all) / 2, NOW)
    expect(total(all) - total(victims)).toBeLessThanOrEqual(total(all) / 2)
  })
})

describe("the budget", () => {
  const bytesIn = (dir: string) =>
    readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((e) => e.isFile())
      .reduce((sum, e) => sum + statSync(join(e.parentPath, e.name)).size, 0)

  test("holds, and what is left can be used", async () => {
    const dir = temporaryFolder()
    const budget = 2_000_000
    const engine = openWithDisk(dir, { budget, nSeqs: 2 })
    const prompts = Array.from({ length: 8 }, (_, i) => promptIds(600, 20 + i))
    const answers: number[][] = []
    for (const ids of prompts) {
      answers.push(ask(engine, ids, { marks: [150, 300] }).ids)
      await engine.runtime.disk!.writer.flush(30_000)
      expect(bytesIn(dir)).toBeLessThanOrEqual(budget)
    }
    engine.close()
    const { entries } = await new KvFolder(dir).scan()
    expect(chainsOf(entries).orphans).toEqual([])
    const again = openWithDisk(dir, { budget, nSeqs: 2 })
    again.runtime.disk!.writer.close()
    const cached = prompts.map((ids, i) => {
      const answer = ask(again, ids)
      expect(answer.ids).toEqual(answers[i]!)
      return answer.cached
    })
    again.close()
    expect(cached.at(-1)).toBe(512)
    expect(cached[0]).toBeLessThan(512)
  })

  test("too small for a conversation, it keeps what there is room for, and a tiny one nothing", async () => {
    for (const budget of [400_000, 1000]) {
      const dir = temporaryFolder()
      const engine = openWithDisk(dir, { budget })
      ask(engine, promptIds(2300, 30), { marks: [300, 600, 900, 1200, 1500] })
      await closeSaved(engine)
      expect(bytesIn(dir)).toBeLessThanOrEqual(budget)
      const { entries } = await new KvFolder(dir).scan()
      expect(chainsOf(entries).orphans).toEqual([])
      expect(entries.length > 0).toBe(budget > 1000)
    }
  })

  test("what a killed process left is cleared away", async () => {
    const dir = temporaryFolder()
    const engine = openWithDisk(dir)
    ask(engine, promptIds(600, 40))
    await closeSaved(engine)
    const folder = dirname(objectsIn(dir)[0]!)
    const [dead, alive] = [`tmp-${2 ** 22 + 1}-7`, `tmp-${process.pid}-7`]
    const orphan = `${"a".repeat(32)}-${"b".repeat(32)}.page`
    const foreign = "notes.txt"
    for (const name of [dead, alive, orphan, foreign]) {
      writeFileSync(join(folder, name), "x")
      utimesSync(join(folder, name), Date.now() / 1000 - 1200, Date.now() / 1000 - 1200)
    }
    const next = openWithDisk(dir)
    ask(next, promptIds(300, 41))
    await closeSaved(next)
    const names = readdirSync(folder)
    expect([dead, orphan].filter((name) => names.includes(name))).toEqual([])
    expect([alive, foreign].filter((name) => names.includes(name))).toEqual([alive, foreign])
  })
})
