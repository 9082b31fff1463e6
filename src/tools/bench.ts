/** `ds4 bench`: speed at growing contexts, as a table, as CSV and as a picture; of a model, or of
 *  random weights in the full model's shape, or of single kernels. */
import { readFileSync } from "node:fs"
import type { Io } from "../cli/io.ts"
import { findModel } from "../cli/models.ts"
import type { Args } from "../cli/options.ts"
import { env } from "../env.ts"
import { CliError } from "../errors.ts"
import { loadNative } from "../ops/open.ts"
import { parseCsv } from "./bench-csv.ts"
import { runKernels } from "./bench-kernels.ts"
import { measureModel } from "./bench-model.ts"
import { planOf } from "./bench-plan.ts"
import { compareText } from "./bench-print.ts"
import { ensureSynthetic, parseShape } from "./bench-synthetic.ts"

export async function run(args: Args, io: Io): Promise<number> {
  const other = args.text("compare")
  if (other !== undefined) return compare(other, args, io)
  if (args.positional.length > 0)
    throw new CliError(`ds4 bench cannot use "${args.positional[0]}": -m names the model`)
  if (args.flag("kernels")) return runKernels(args, io)
  if (args.text("only") !== undefined) throw new CliError("--only chooses among --kernels")
  const plan = planOf(args, io)
  const synthetic = args.text("synthetic")
  if (synthetic !== undefined && args.text("model") !== env("DS4_MODEL"))
    throw new CliError("--synthetic and --model name two models, expected one")
  if (synthetic === undefined) {
    const { path } = findModel(args, io)
    await loadNative()
    return measureModel(path, plan, args, io)
  }
  const path = ensureSynthetic(parseShape(synthetic), io)
  await loadNative()
  return measureModel(path, { ...plan, isSynthetic: true }, args, io)
}

/** `--compare A.csv B.csv`: how much faster B is, and whether both computed the same. */
function compare(a: string, args: Args, io: Io): number {
  const [b] = args.positional
  if (b === undefined) throw new CliError("--compare needs two tables: --compare A.csv B.csv")
  const tableOf = (name: string) => ({ name, rows: parseCsv(name, read(io.resolvePath(name))) })
  io.out(`${compareText(tableOf(a), tableOf(b), io.colors)}\n`)
  return 0
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch (error) {
    throw new CliError(`Cannot read ${path}: ${(error as Error).message}`)
  }
}
