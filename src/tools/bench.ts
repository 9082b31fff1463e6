/** `ds4 bench`: speed at growing contexts, as a table and as CSV. */
import type { Io } from "../cli/io.ts"
import { findModel } from "../cli/models.ts"
import type { Args } from "../cli/options.ts"
import { CliError } from "../errors.ts"
import { loadNative } from "../ops/open.ts"
import { measureModel } from "./bench-model.ts"
import { planOf } from "./bench-plan.ts"

export async function run(args: Args, io: Io): Promise<number> {
  if (args.positional.length > 0)
    throw new CliError(`ds4 bench cannot use "${args.positional[0]}": -m names the model`)
  const plan = planOf(args, io)
  const { path } = findModel(args, io)
  await loadNative()
  return measureModel(path, plan, args, io)
}
