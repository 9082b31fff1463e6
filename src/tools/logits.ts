/** `ds4 logits`: logits, and streams after each layer, of every position of a list of ids. */
import { readFileSync } from "node:fs"
import { type Io, ProgressLine } from "../cli/io.ts"
import { engineOptions, findModel } from "../cli/models.ts"
import type { Args } from "../cli/options.ts"
import { CliError } from "../errors.ts"
import { loadNative } from "../ops/open.ts"
import { openRuntime } from "../session/open.ts"
import { FloatFile } from "./logits-file.ts"
import { type LogitsSink, runLogits } from "./logits-run.ts"

const DEFAULT_CHUNK = 512

export async function run(args: Args, io: Io): Promise<number> {
  const [idsFile, outFile, hiddenFile] = ["ids", "out", "hidden"].map((n) => args.text(n))
  if (!idsFile || !outFile)
    throw new CliError("ds4 logits needs --ids FILE.json and --out FILE.f32")
  const ids = readIds(io.resolvePath(idsFile))
  const { path } = findModel(args, io)
  await loadNative()
  const chunk = args.number("chunk") ?? DEFAULT_CHUNK
  const context = args.number("ctx") ?? Math.max(ids.length, 1)
  const runtime = openRuntime({ path }, { ...engineOptions(args), context, maxRows: chunk })
  const { vocabSize: vocab, nLayers, hcMult, dim } = runtime.config
  const wrong = ids.findIndex((id) => id >= vocab)
  if (wrong >= 0)
    throw new CliError(
      `Id ${ids[wrong]} at index ${wrong} is beyond the ${vocab} of the vocabulary`,
    )
  const out = new FloatFile(io.resolvePath(outFile))
  const hidden = hiddenFile ? new FloatFile(io.resolvePath(hiddenFile)) : null
  const width = hcMult * dim
  const sink: LogitsSink = {
    logits: (position, rows) => out.write(position * vocab, rows),
    ...(hidden && {
      hidden(position: number, layer: number, rows: Float32Array) {
        for (let r = 0; r * width < rows.length; r++)
          hidden.write(
            ((position + r) * nLayers + layer) * width,
            rows.subarray(r * width, (r + 1) * width),
          )
      },
    }),
  }
  const progress = new ProgressLine(io)
  try {
    for (const done of runLogits(runtime, ids, chunk, sink))
      progress.show(`${Math.floor(done)} of ${ids.length} positions`)
    out.finish()
    hidden?.finish()
  } catch (error) {
    out.discard()
    hidden?.discard()
    throw error
  } finally {
    progress.clear()
    runtime.close()
  }
  return 0
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
  const wrong = ids.findIndex((id) => !Number.isInteger(id) || id < 0)
  if (wrong >= 0) throw new CliError(`${path}: element ${wrong} is no token id`)
  return ids
}
