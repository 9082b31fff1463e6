/** Processes that are killed while they save: every file they leave is whole, none of them is ever lost,
 *  and what is loaded gives the answers of a cold run. The tests run some rounds, scripts/kill-saves.ts as
 *  many as asked. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Engine } from "../../src/generate/engine.ts"
import { decodeObject } from "../../src/session/disk/format.ts"
import { logitsOf, objectsIn, openWithDisk, promptIds, temporaryFolder } from "./disk.ts"
import { randomBelow } from "./fuzz-gguf.ts"
import { MINI_Q2 } from "./models.ts"

/** Tokens of a prompt, of which the first are those of every prompt. */
const TOKENS = 520
const SHARED = 128
/** Every other process is killed within so many milliseconds of beginning its first prompt, */
const WITHIN_MS = 600
/** the others within so many of their first file: many in the middle of a later one. */
const WITHIN_SAVE_MS = 200

export interface KillReport {
  rounds: number
  /** Rounds whose process was killed in the middle of a file: it left an unfinished one. */
  torn: number
  /** Prompts compared with a cold run of which nothing of their own, something, and all was on disk. */
  none: number
  some: number
  all: number
  /** Objects in the folder at the end. */
  objects: number
  wrong: string[]
}

/** Marks that make every page end in a resume point: much to save. */
export const MARKS = [130, 260, 390]
/** The n-th prompt of a round. */
export const killedIds = (round: number, n: number): number[] =>
  promptIds(TOKENS, 100 * (round + 1) + n, SHARED)

/** Runs `rounds` rounds, each with a process that is killed with SIGKILL. */
export async function killSaves(
  rounds: number,
  seed: number,
  onRound: (report: KillReport) => void = () => {},
): Promise<KillReport> {
  const dir = temporaryFolder()
  const below = randomBelow(seed)
  const report: KillReport = { rounds: 0, torn: 0, none: 0, some: 0, all: 0, objects: 0, wrong: [] }
  let known = new Set<string>()
  const plain = Engine.open({ path: MINI_Q2 }, { context: 1024, threads: 1 })
  for (let round = 0; round < rounds; round++) {
    const before = unfinishedIn(dir)
    const isAimed = round % 2 === 1
    const last = await saveAndDie(dir, round, isAimed, below(isAimed ? WITHIN_SAVE_MS : WITHIN_MS))
    if (unfinishedIn(dir).some((name) => !before.includes(name))) report.torn++
    const files = objectsIn(dir)
    for (const path of files) {
      if (known.has(path)) continue
      const object = decodeObject(readFileSync(path))
      if (typeof object === "string") report.wrong.push(`round ${round}: ${path}: ${object}`)
    }
    for (const path of known)
      if (!files.includes(path)) report.wrong.push(`round ${round}: ${path} is lost`)
    known = new Set(files)
    // A prompt is still being saved while the next one is under way.
    for (let n = Math.max(0, last - 1); n <= last; n++) {
      const cached = compare(dir, plain, killedIds(round, n), report)
      report[cached <= SHARED ? "none" : cached < TOKENS - 128 ? "some" : "all"]++
    }
    report.rounds++
    report.objects = files.length
    onRound(report)
  }
  plain.close()
  return report
}

/** Asks the folder and a cold engine a prompt. Returns the tokens that were on disk. */
function compare(dir: string, plain: Engine, ids: number[], report: KillReport): number {
  const reader = openWithDisk(dir, { context: 1024 })
  reader.runtime.disk!.writer.close()
  const warm = logitsOf(reader, ids)
  reader.close()
  const cold = logitsOf(plain, ids)
  if (warm.hash !== cold.hash) report.wrong.push(`round ${report.rounds}: other logits`)
  return warm.cached
}

const unfinishedIn = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((name) => name.includes("tmp-"))

/** Starts a process and kills it so long after its first prompt began or, aimed, after it began to write
 *  its first file. Returns which prompt was under way. */
async function saveAndDie(
  dir: string,
  round: number,
  isAimed: boolean,
  afterMs: number,
): Promise<number> {
  const nFiles = () => readdirSync(dir, { recursive: true }).length
  const before = nFiles()
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dir, "kill-saves-child.ts"), dir, String(round)],
    { stdout: "pipe", stderr: "inherit" },
  )
  const kill = async () => {
    while (isAimed && nFiles() === before && child.exitCode === null) await Bun.sleep(1)
    await Bun.sleep(afterMs)
    child.kill("SIGKILL")
  }
  let said = ""
  let killed: Promise<void> | undefined
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    said += chunk
    killed ??= kill()
  }
  await Promise.all([child.exited, killed])
  return said.split("\n").length - 2 // a line for each prompt that was begun
}
