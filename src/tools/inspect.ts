/** `ds4 inspect`: what a file is, from its header alone. */
import type { Io } from "../cli/io.ts"
import { findModel } from "../cli/models.ts"
import type { Args } from "../cli/options.ts"
import { readConfig } from "../model/config.ts"
import { loadNative } from "../ops/open.ts"
import { openModelFile } from "../session/open.ts"
import { memoryReport } from "./inspect-memory.ts"
import { inspectModel } from "./inspect-model.ts"
import { memoryText, modelText, tensorText } from "./inspect-print.ts"

export async function run(args: Args, io: Io): Promise<number> {
  const [file] = args.positional
  const path = file !== undefined ? io.resolvePath(file) : findModel(args, io).path
  await loadNative()
  const gguf = openModelFile({ path })
  const report = inspectModel(gguf)
  const context = args.number("ctx")
  const memory =
    context === undefined ? undefined : memoryReport(gguf, readConfig(gguf.metadata), { context })
  if (args.flag("json")) {
    const tensors = args.flag("tensors") ? [...gguf.tensors.values()] : undefined
    io.out(`${JSON.stringify({ ...report, memory, tensors }, null, 2)}\n`)
  } else {
    io.out(modelText(report, io.colors))
    if (memory) io.out(memoryText(memory, io.colors))
    if (args.flag("tensors")) io.out(tensorText(gguf, io.colors))
    if (report.extraTensors.length > 0)
      io.err(`${report.extraTensors.length} tensors of the file are not used by the model\n`)
  }
  gguf.source.close()
  return 0
}
