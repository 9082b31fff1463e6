/** Processes that are killed while they save: every file they leave is whole, none of them is ever lost,
 *  and what is loaded gives the answers of a cold run. The tests run some rounds, scripts/kill-saves.ts as
 *  many as asked. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Engine } from "../../src/generate/engine.ts"
import { decodeObject } from "../../src/session/disk/format.ts"
import { logitsOf, objectsIn, openWithDisk, promptIds, temporaryFolder } from "./disk.ts"
import { randomBelow } from "./fuzz-gguf.ts"
import { MINI_Q2 } from "./models.ts"

/** Tokens of a round's prompt, of which the first are those of every round. */
const TOKENS = 600
const SHARED = 256
/** Processes are killed within so many milliseconds of beginning their request. */
const WITHIN_MS = 500

export interface KillReport {
  rounds: number
  /** Rounds in which nothing, something, and all of the prompt had been saved. */
  none: number
  some: number
  all: number
  /** Objects in the folder at the end. */
  objects: number
  wrong: string[]
}

/** Marks that make nearly every page end in a resume point: much to save. */
export const MARKS = Array.from({ length: 4 }, (_, i) => 130 + 128 * i)
export const killedIds = (round: number): number[] => promptIds(TOKENS, 100 + round, SHARED)

/** Runs `rounds` rounds, each with a process that is killed with SIGKILL. */
export async function killSaves(
  rounds: number,
  seed: number,
  onRound: (report: KillReport) => void = () => {},
): Promise<KillReport> {
  const dir = temporaryFolder()
  const below = randomBelow(seed)
  const report: KillReport = { rounds: 0, none: 0, some: 0, all: 0, objects: 0, wrong: [] }
  let known = new Set<string>()
  const plain = Engine.open({ path: MINI_Q2 }, { context: 1024, threads: 1 })
  for (let round = 0; round < rounds; round++) {
    await saveAndDie(dir, round, below(WITHIN_MS))
    const files = objectsIn(dir)
    for (const path of files) {
      if (known.has(path)) continue
      const object = decodeObject(readFileSync(path))
      if (typeof object === "string") report.wrong.push(`round ${round}: ${path}: ${object}`)
    }
    for (const path of known)
      if (!files.includes(path)) report.wrong.push(`round ${round}: ${path} is lost`)
    known = new Set(files)
    const cached = compare(dir, plain, round, report)
    report[cached <= SHARED ? "none" : cached < TOKENS - 128 ? "some" : "all"]++
    report.rounds++
    report.objects = files.length
    onRound(report)
  }
  plain.close()
  return report
}

/** Asks the folder and a cold engine the round's prompt. Returns the tokens that were on disk. */
function compare(dir: string, plain: Engine, round: number, report: KillReport): number {
  const ids = killedIds(round)
  const reader = openWithDisk(dir, { context: 1024 })
  reader.runtime.disk!.writer.close()
  const warm = logitsOf(reader, ids)
  reader.close()
  const cold = logitsOf(plain, ids)
  if (warm.hash !== cold.hash) report.wrong.push(`round ${round}: other logits after a disk hit`)
  return warm.cached
}

async function saveAndDie(dir: string, round: number, afterMs: number): Promise<void> {
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dir, "kill-saves-child.ts"), dir, String(round)],
    { stdout: "pipe", stderr: "inherit" },
  )
  const reader = child.stdout.getReader()
  await reader.read() // it has begun
  await Bun.sleep(afterMs)
  child.kill("SIGKILL")
  await child.exited
}
