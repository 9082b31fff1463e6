/** Whatever happens to the folder, requests are answered; the user hears of it once. */
import { describe, expect, spyOn, test } from "bun:test"
import { chmodSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { chainsOf } from "../../src/session/disk/evict.ts"
import { KvFolder } from "../../src/session/disk/folder.ts"
import {
  ask,
  closeSaved,
  objectsIn,
  openWithDisk,
  promptIds,
  temporaryFolder,
} from "../support/disk.ts"

/** Two requests with a folder that cannot be written; returns what the user hears. */
async function warnings(dir: string): Promise<string[]> {
  const heard: string[] = []
  const engine = openWithDisk(dir)
  engine.onWarning = (text) => heard.push(text)
  for (const seed of [1, 2]) {
    expect(ask(engine, promptIds(300, seed)).ids.length).toBeGreaterThan(0)
    await engine.runtime.disk!.writer.flush(30_000)
  }
  engine.close()
  return heard
}

describe("a folder that", () => {
  test("is a file, or lies below one: one warning", async () => {
    const dir = temporaryFolder()
    const file = join(dir, "file")
    writeFileSync(file, "")
    for (const path of [file, join(file, "kv")]) {
      const heard = await warnings(path)
      expect(heard).toHaveLength(1)
      expect(heard[0]).toStartWith(`Cannot write the KV cache in ${path}, going on without: `)
      expect(heard[0]).toContain("ENOTDIR")
    }
  })

  test("cannot be made: one warning", async () => {
    expect(await warnings("/proc/ds4/kv")).toHaveLength(1)
  })

  test("may not be written: one warning", async () => {
    // Root may write everywhere but where the kernel says no.
    const dir = process.getuid?.() === 0 ? "/sys/kernel" : temporaryFolder()
    if (dir !== "/sys/kernel") chmodSync(dir, 0o500)
    expect(await warnings(dir)).toHaveLength(1)
    if (dir !== "/sys/kernel") chmodSync(dir, 0o700)
  })

  test("does not exist is made, for its owner alone", async () => {
    const dir = join(temporaryFolder(), "a/b")
    expect(await warnings(dir)).toEqual([])
    expect(objectsIn(dir)).not.toEqual([])
  })

  test("is deleted meanwhile is made again", async () => {
    const dir = temporaryFolder()
    const heard: string[] = []
    const engine = openWithDisk(dir)
    engine.onWarning = (text) => heard.push(text)
    const ids = promptIds(600, 3)
    ask(engine, ids)
    await engine.runtime.disk!.writer.flush(30_000)
    rmSync(dir, { recursive: true })
    ask(engine, ids)
    await closeSaved(engine)
    expect(heard).toEqual([])
    const again = openWithDisk(dir)
    expect(ask(again, ids).cached).toBe(512)
    again.close()
  })

  test("loses pages under a reader is a miss for what is lost", async () => {
    const dir = temporaryFolder()
    const ids = promptIds(600, 4)
    const engine = openWithDisk(dir)
    const answer = ask(engine, ids, { marks: [300] })
    await closeSaved(engine)
    const again = openWithDisk(dir)
    const sequence = again.runtime.sequence()
    let n = 0
    for (const _ of again.runtime.disk!.fetch(sequence, ids))
      if (++n === 3) for (const path of objectsIn(dir)) if (!isNeeded(path)) rmSync(path)
    expect(sequence.sync(ids)).toBe(256) // the point of the mark, three pages, and no more
    again.runtime.release(sequence)
    expect(ask(again, ids).ids).toEqual(answer.ids)
    again.close()

    function isNeeded(path: string): boolean {
      return path.endsWith(".point")
    }
  })

  test("is full: one warning, and nothing is tried for a while", async () => {
    const full = Object.assign(new Error("ENOSPC: no space left on device, write"), {
      code: "ENOSPC",
    })
    const write = spyOn(KvFolder.prototype, "write").mockRejectedValue(full)
    try {
      const heard = await warnings(temporaryFolder())
      expect(heard).toHaveLength(1)
      expect(heard[0]).toEndWith("going on without: ENOSPC: no space left on device, write")
      expect(write).toHaveBeenCalledTimes(1)
    } finally {
      write.mockRestore()
    }
  })

  test("fails at the n-th file: what is there stays good, and the next process completes it", async () => {
    const ids = promptIds(400, 5)
    const { write } = KvFolder.prototype
    for (let n = 1; n <= 5; n++) {
      const dir = temporaryFolder()
      const engine = openWithDisk(dir)
      let calls = 0
      const spy = spyOn(KvFolder.prototype, "write").mockImplementation(function (
        this: KvFolder,
        ...args
      ) {
        return ++calls === n ? Promise.reject(new Error("EIO")) : write.apply(this, args)
      })
      const answer = ask(engine, ids)
      await closeSaved(engine)
      spy.mockRestore()
      const { entries } = await new KvFolder(dir).scan()
      expect(entries).toHaveLength(Math.max(0, n - 2)) // the first file says what model it is
      expect(chainsOf(entries).orphans).toEqual([])
      const next = openWithDisk(dir)
      expect(ask(next, ids)).toMatchObject({ ids: answer.ids, cached: 0 })
      await closeSaved(next)
      const last = openWithDisk(dir)
      expect(ask(last, ids)).toMatchObject({ ids: answer.ids, cached: 384 })
      last.close()
    }
  })

  test("refuses a file at the last moment keeps nothing of it", async () => {
    const dir = temporaryFolder()
    const subfolder = join(dir, "0".repeat(16))
    const path = join(subfolder, "x.page")
    mkdirSync(path, { recursive: true }) // a rename onto a folder fails
    let error: unknown
    await new KvFolder(dir).write(path, new Uint8Array(1000)).catch((e) => (error = e))
    expect(error).toBeInstanceOf(Error)
    expect(readdirSync(subfolder)).toEqual(["x.page"])
  })
})
