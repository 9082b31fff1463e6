/** `ds4 inspect`: what a model file is and what a context of it takes, from its header alone. */
import type { Io } from "../cli/io.ts"
import { findModel } from "../cli/models.ts"
import type { Args } from "../cli/options.ts"
import { CliError } from "../errors.ts"
import type { Config } from "../model/config.ts"
import { loadNative } from "../ops/open.ts"
import { openModelFile } from "../session/open.ts"
import { memoryReport } from "./inspect-memory.ts"
import { inspectModel } from "./inspect-model.ts"
import { count, memoryText, modelText, tensorText } from "./inspect-print.ts"

export async function run(args: Args, io: Io): Promise<number> {
  const { path } = findModel(namedByPosition(args), io)
  await loadNative()
  const file = openModelFile({ path })
  try {
    const model = inspectModel(file)
    const context = contextOf(args, model.config)
    const memory = context === undefined ? undefined : memoryReport(file, model.config, { context })
    const wantsTensors = args.flag("tensors")
    if (args.flag("json")) {
      const tensors = wantsTensors ? [...file.tensors.values()] : undefined
      io.out(`${JSON.stringify({ ...model, memory, tensors }, null, 2)}\n`)
      return 0
    }
    const sections = [modelText(model, io.colors)]
    if (memory) sections.push(memoryText(memory, io.colors))
    if (wantsTensors) sections.push(tensorText(file, io.colors))
    io.out(`${sections.join("\n\n")}\n`)
    return 0
  } finally {
    file.source.close()
  }
}

/** `ds4 inspect FILE` is `ds4 inspect -m FILE`. */
function namedByPosition(args: Args): Args {
  const [named] = args.positional
  if (named === undefined) return args
  return { ...args, text: (name) => (name === "model" ? named : args.text(name)) }
}

function contextOf(args: Args, { contextLength }: Config): number | undefined {
  const context = args.number("ctx")
  if (context !== undefined && context > contextLength)
    throw new CliError(
      `--ctx is ${count(context)}, the model reaches ${count(contextLength)} tokens`,
    )
  return context
}
