/** `ds4 logits`: logits, and streams after each layer, of every position of a list of ids. Files are
 *  float32, little endian: [position][vocabulary] and [position][layer][stream][dim]. */
import { readFileSync } from "node:fs"
import { type Io, ProgressLine } from "../cli/io.ts"
import { engineOptions, findModel } from "../cli/models.ts"
import type { Args } from "../cli/options.ts"
import { CliError, NumericalError } from "../errors.ts"
import type { Config } from "../model/config.ts"
import { loadNative } from "../ops/open.ts"
import { openRuntime } from "../session/open.ts"
import type { Runtime } from "../session/runtime.ts"
import { count } from "./inspect-print.ts"
import { FloatFile } from "./logits-file.ts"
import { type LogitsSink, runLogits } from "./logits-run.ts"

const DEFAULT_CHUNK = 512

export async function run(args: Args, io: Io): Promise<number> {
  const [idsFile, outFile, hiddenFile] = ["ids", "out", "hidden"].map((name) => {
    const path = args.text(name)
    return path === undefined ? undefined : io.resolvePath(path)
  })
  if (idsFile === undefined || outFile === undefined)
    throw new CliError("ds4 logits needs --ids FILE.json and --out FILE.f32")
  if (hiddenFile === outFile) throw new CliError("--out and --hidden must name two files")
  const ids = readIds(idsFile)
  const { path } = findModel(args, io)
  await loadNative()
  const chunk = Math.min(args.number("chunk") ?? DEFAULT_CHUNK, ids.length)
  const context = Math.max(args.number("ctx") ?? 0, ids.length)
  const options = { ...engineOptions(args), context, maxRows: chunk, resumeBytes: 0 }
  const runtime = openRuntime({ path }, options)
  try {
    checkIds(ids, runtime.config)
    writeFiles(runtime, ids, chunk, { outFile, hiddenFile }, new ProgressLine(io))
  } finally {
    runtime.close()
  }
  return 0
}

interface Files {
  outFile: string
  hiddenFile: string | undefined
}

/** Runs the ids and leaves both files whole, or neither. */
function writeFiles(
  runtime: Runtime,
  ids: readonly number[],
  chunk: number,
  { outFile, hiddenFile }: Files,
  progress: ProgressLine,
): void {
  const files: FloatFile[] = []
  const create = (path: string) => files[files.push(new FloatFile(path)) - 1]!
  const start = performance.now()
  try {
    const out = create(outFile)
    const hidden = hiddenFile === undefined ? undefined : create(hiddenFile)
    for (const done of runLogits(runtime, ids, chunk, sinkOf(runtime.config, out, hidden))) {
      const perSecond = (1000 * done) / (performance.now() - start)
      progress.show(
        `${count(Math.floor(done))} of ${count(ids.length)} positions, ${perSecond.toFixed(1)}/s`,
      )
    }
    for (const file of files) file.finish()
  } catch (error) {
    for (const file of files) file.discard()
    throw error
  } finally {
    progress.clear()
  }
}

function sinkOf(c: Config, out: FloatFile, hidden: FloatFile | undefined): LogitsSink {
  const width = c.hcMult * c.dim
  return {
    logits(position, rows) {
      const bad = rows.findIndex((v) => !Number.isFinite(v))
      if (bad >= 0)
        throw new NumericalError(
          `The model computed ${rows[bad]} at position ${position + Math.floor(bad / c.vocabSize)}`,
        )
      out.write(position * c.vocabSize, rows)
    },
    ...(hidden && {
      hidden(position, layer, rows) {
        for (let r = 0; r * width < rows.length; r++) {
          const at = ((position + r) * c.nLayers + layer) * width
          hidden.write(at, rows.subarray(r * width, (r + 1) * width))
        }
      },
    }),
  }
}

/** A JSON array of ids. @throws CliError naming the file, or the element. */
function readIds(path: string): number[] {
  let ids: unknown
  try {
    ids = JSON.parse(readFileSync(path, "utf8"))
  } catch (error) {
    throw new CliError(`Cannot read ids from ${path}: ${(error as Error).message}`)
  }
  if (!Array.isArray(ids) || ids.length === 0)
    throw new CliError(`${path} holds no JSON array of token ids`)
  const wrong = ids.findIndex((id) => !Number.isSafeInteger(id) || id < 0)
  if (wrong >= 0)
    throw new CliError(
      `${path}: element ${wrong} is ${JSON.stringify(ids[wrong])?.slice(0, 40)}, a token id is wanted`,
    )
  return ids as number[]
}

function checkIds(ids: readonly number[], { vocabSize }: Config): void {
  const wrong = ids.findIndex((id) => id >= vocabSize)
  if (wrong >= 0)
    throw new CliError(
      `Id ${ids[wrong]} at element ${wrong} is none of the vocabulary's ${count(vocabSize)}`,
    )
}
