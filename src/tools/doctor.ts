/** `ds4 doctor`: looks at everything ds4 needs and says what to do; `--selftest` runs every kernel
 *  against the reference. Exit code 0: all well, 1: warnings, 2: failures. */
import type { Io } from "../cli/io.ts"
import { findModel } from "../cli/models.ts"
import type { Args } from "../cli/options.ts"
import type { BackendName } from "../ops/backend.ts"
import { loadNative, openBackend } from "../ops/open.ts"
import { DEFAULT_CONTEXT, openModelFile } from "../session/open.ts"
import {
  checkBun,
  checkInstall,
  checkLibrary,
  checkMachine,
  checkModel,
  type Finding,
  PUBLISHED,
} from "./doctor-checks.ts"
import { places } from "./doctor-places.ts"
import { size } from "./inspect-print.ts"

export async function run(args: Args, io: Io): Promise<number> {
  if (args.flag("selftest")) return selftest(args, io)
  const { path } = findModel(args, io)
  const findings: Finding[] = [...checkMachine(), checkBun(), ...checkInstall()]
  findings.push(await checkLibrary((line) => io.err(`${line}\n`)))
  await loadNative()
  findings.push(...checkModel(() => openModelFile({ path }), args.number("ctx") ?? DEFAULT_CONTEXT))
  if (args.flag("json"))
    io.out(`${JSON.stringify({ findings, places: places(), published: PUBLISHED }, null, 2)}\n`)
  else print(findings, io)
  if (findings.some((f) => f.status === "failure")) return 2
  return findings.some((f) => f.status === "warning") ? 1 : 0
}

function print(findings: readonly Finding[], io: Io): void {
  const { colors } = io
  const marks = {
    ok: colors.green("ok  "),
    warning: colors.yellow("warn"),
    failure: colors.red("FAIL"),
  }
  for (const f of findings) {
    io.out(`${marks[f.status]} ${colors.bold(f.topic)}: ${f.text}\n`)
    if (f.fix) io.out(`     ${f.fix}\n`)
  }
  io.out("\n")
  for (const p of places())
    io.out(`${p.what}: ${p.path} ${colors.dim(p.bytes === null ? "(nothing)" : size(p.bytes))}\n`)
}

async function selftest(args: Args, io: Io): Promise<number> {
  const { runConformance } = await import("../ops/conformance/index.ts")
  await loadNative()
  const [threads, isa] = [args.number("threads"), args.text("isa")]
  const backend = openBackend((args.text("backend") ?? "cpu") as BackendName, {
    ...(threads !== undefined && { threads }),
    ...(isa !== undefined && { isa }),
  })
  io.err(`${backend.description}\n`)
  const report = runConformance(backend)
  backend.close()
  for (const f of report.failures) io.out(`FAIL ${f.name}: ${f.message}\n`)
  io.out(`${report.passed} cases passed, ${report.failed} failed\n`)
  return report.failed > 0 ? 2 : 0
}
