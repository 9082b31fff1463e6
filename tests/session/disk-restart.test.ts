/** A long conversation after a restart. */
import { expect, test } from "bun:test"
import {
  ask,
  closeSaved,
  logitsOf,
  openWithDisk,
  promptIds,
  temporaryFolder,
} from "../support/disk.ts"

test("25,000 tokens are there again after a restart, with the same logits", async () => {
  const dir = temporaryFolder()
  const ids = promptIds(25_000, 1)
  const options = { context: 25_600, threads: 2 }
  const first = openWithDisk(dir, options)
  const { hash } = logitsOf(first, ids) // cold
  // The scheduler's jobs are what is saved; this one finds everything in memory.
  const answer = ask(first, ids)
  expect(answer.cached).toBeGreaterThanOrEqual(24_960)
  await closeSaved(first)

  const second = openWithDisk(dir, options)
  expect(logitsOf(second, ids)).toEqual({ hash, cached: 24_960 })
  second.close()
  const third = openWithDisk(dir, options)
  const reuse = { memory: 0, disk: 24_960 }
  expect(ask(third, ids)).toEqual({ ids: answer.ids, cached: 24_960, reuse })
  // It branches off in the middle, at one of the points that every 16th page has.
  const branch = [...ids.slice(0, 13_000), ...promptIds(300, 2)]
  expect(ask(third, branch).cached).toBe(12_288)
  third.close()
}, 120_000)
