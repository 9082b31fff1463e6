/** `ds4 doctor --selftest`: the conformance table on this machine, with a line per op. */
import { type Io, ProgressLine } from "../cli/io.ts"
import { engineOptions } from "../cli/models.ts"
import type { Args } from "../cli/options.ts"
import { conformanceCases, nameOf, runConformance } from "../ops/conformance/index.ts"
import type { Backend } from "../ops/backend.ts"
import { loadNative, openBackend } from "../ops/open.ts"
import { table } from "./inspect-print.ts"

export interface SelftestReport {
  backend: string
  passed: number
  failed: number
  seconds: number
  ops: OpReport[]
  failures: readonly { name: string; message: string }[]
}

interface OpReport {
  op: string
  cases: number
  failed: number
  seconds: number
}

export async function selftest(args: Args, io: Io): Promise<number> {
  await loadNative()
  const { backend: name, ...options } = engineOptions(args)
  const backend = openBackend(name ?? "cpu", options)
  const progress = new ProgressLine(io)
  let report: SelftestReport
  try {
    report = runSelftest(backend, (done, total, now) =>
      progress.show(`${done} of ${total} cases, ${now}`),
    )
  } finally {
    progress.clear()
    backend.close()
  }
  io.out(args.flag("json") ? `${JSON.stringify(report, null, 2)}\n` : `${text(report, io)}\n`)
  return report.failed > 0 ? 2 : 0
}

/** Runs all cases, or those of some ops. */
export function runSelftest(
  backend: Backend,
  onCase: (done: number, total: number, name: string) => void,
  filter: (op: string) => boolean = () => true,
): SelftestReport {
  const total = conformanceCases().filter((c) => filter(c.op)).length
  const ops = new Map<string, OpReport>()
  const start = performance.now()
  let last = start
  let done = 0
  const report = runConformance(backend, {
    filter: (c) => filter(c.op),
    onCase(c, failure) {
      const now = performance.now()
      const op = ops.get(c.op) ?? { op: c.op, cases: 0, failed: 0, seconds: 0 }
      op.cases++
      if (failure !== undefined) op.failed++
      op.seconds += (now - last) / 1000
      last = now
      ops.set(c.op, op)
      onCase(++done, total, nameOf(c))
    },
  })
  return {
    backend: backend.description,
    ...report,
    seconds: (performance.now() - start) / 1000,
    ops: [...ops.values()],
  }
}

function text(r: SelftestReport, { colors }: Io): string {
  const rows = r.ops.map((o) => [
    o.op,
    String(o.cases),
    o.failed === 0 ? "" : String(o.failed),
    o.seconds.toFixed(2),
  ])
  const verdict = `${r.passed} cases passed, ${r.failed} failed, ${r.seconds.toFixed(1)} s`
  return [
    colors.bold(r.backend),
    table(["op", "cases", "failed", "seconds"], rows, colors),
    ...r.failures.map((f) => `${colors.red("FAIL")} ${f.name}: ${f.message}`),
    r.failed > 0 ? colors.red(verdict) : colors.green(verdict),
  ].join("\n")
}
