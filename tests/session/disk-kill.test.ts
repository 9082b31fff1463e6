/** kill -9 at any time. DS4_KILL_ROUNDS says how often; scripts/kill-saves.ts does the same. */
import { expect, test } from "bun:test"
import { killSaves } from "../support/kill-saves.ts"

const ROUNDS = Number(process.env["DS4_KILL_ROUNDS"] ?? 20)

test("processes that are killed while they save lose nothing that is there, and leave nothing wrong", async () => {
  const report = await killSaves(ROUNDS, 1)
  expect(report).toMatchObject({ rounds: ROUNDS, wrong: [] })
  // It was worth something: files were cut in the middle, and pages of killed processes were used.
  expect(report.torn).toBeGreaterThan(0)
  expect(report.some + report.all).toBeGreaterThan(0)
}, 600_000)
