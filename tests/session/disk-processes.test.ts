/** Several processes on one folder. */
import { describe, expect, test } from "bun:test"
import { join } from "node:path"
import { readFileSync } from "node:fs"
import { chainsOf } from "../../src/session/disk/evict.ts"
import { KvFolder } from "../../src/session/disk/folder.ts"
import { decodeObject } from "../../src/session/disk/format.ts"
import {
  ask,
  closeSaved,
  objectsIn,
  openWithDisk,
  promptIds,
  temporaryFolder,
} from "../support/disk.ts"

describe("processes on one folder", () => {
  test("that write, evict and read at the same time all get the right answers", async () => {
    const dir = temporaryFolder()
    const path = join(import.meta.dir, "../support/share-folder-child.ts")
    const run = async (seed: number) => {
      const child = Bun.spawn([process.execPath, path, dir, String(seed)], { stdout: "pipe" })
      return { text: await new Response(child.stdout).text(), code: await child.exited }
    }
    const [one, two] = await Promise.all([run(1), run(2)])
    expect([one!.code, two!.code]).toEqual([0, 0])
    const [a, b] = [one, two].map((r) => JSON.parse(r!.text) as Record<string, number[]>)
    expect(a).toEqual(b!)
    expect(Object.keys(a!).length).toBe(6)
    for (const object of objectsIn(dir).map((p) => decodeObject(readFileSync(p))))
      expect(typeof object).toBe("object")
  }, 60_000)

  test("see at once what the other has written", async () => {
    const dir = temporaryFolder()
    const [one, two] = [openWithDisk(dir), openWithDisk(dir)]
    const ids = promptIds(600, 3)
    const answer = ask(one, ids)
    await one.runtime.disk!.writer.flush(30_000)
    expect(ask(two, ids)).toMatchObject({ ids: answer.ids, reuse: { memory: 0, disk: 512 } })
    await closeSaved(one)
    await closeSaved(two)
    const { entries } = await new KvFolder(dir).scan()
    expect(chainsOf(entries).orphans).toEqual([])
  })
})
