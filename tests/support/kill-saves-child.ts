/** Asks one prompt after the other by way of the engine's Worker, until it is killed. */
import { writeSync } from "node:fs"
import { EngineClient } from "../../src/engine/client.ts"
import { spawnEngine } from "../../src/spawn.ts"
import { killedIds, MARKS } from "./kill-saves.ts"
import { MINI_Q2 } from "./models.ts"

const [dir = "", round = "0"] = process.argv.slice(2)
const options = { context: 1024, threads: 1, disk: { dir, budget: 2 ** 30 } }
const client = await EngineClient.open(spawnEngine(), { path: MINI_Q2 }, options)
for (let n = 0; ; n++) {
  writeSync(1, `${n}\n`)
  const ids = killedIds(Number(round), n)
  await client.complete({ ids, format: "raw", maxTokens: 1, marks: MARKS })
}
