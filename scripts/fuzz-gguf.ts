/** A longer run of the GGUF fuzzer: `bun scripts/fuzz-gguf.ts --runs 1000000 --seed 7`. */
import { parseArgs } from "node:util"
import { fuzzGguf } from "../tests/support/fuzz-gguf.ts"

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "200000" },
    seed: { type: "string", default: "1" },
  },
})
const report = fuzzGguf(Number(values.runs), Number(values.seed))
for (const line of report.wrong) console.error(line)
console.log(
  `${report.runs} mutations: ${report.refused} refused, ${report.accepted} accepted, ` +
    `${report.wrong.length} wrong, slowest ${report.slowestMs.toFixed(1)} ms`,
)
process.exit(report.wrong.length > 0 ? 1 : 0)
