/** Kills processes while they save their KV pages: `bun scripts/kill-saves.ts [rounds] [seed]`. */
import { ensureNativeLibrary } from "../ffi/build.ts"
import { openLibrary } from "../ffi/library.ts"
import { killSaves } from "../tests/support/kill-saves.ts"

openLibrary(await ensureNativeLibrary({ onProgress: (line) => console.error(line) }))
const [rounds = "200", seed = "1"] = process.argv.slice(2)
const report = await killSaves(Number(rounds), Number(seed), (r) => {
  if (r.rounds % 20 === 0) console.log(`${r.rounds} rounds, ${r.wrong.length} wrong`)
})
console.log(JSON.stringify(report, null, 2))
process.exit(report.wrong.length > 0 ? 1 : 0)
