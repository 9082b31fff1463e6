/** Asks one prompt by way of the engine's Worker and saves it over and over, until it is killed. */
import { EngineClient } from "../../src/engine/client.ts"
import { spawnEngine } from "../../src/spawn.ts"
import { killedIds, MARKS } from "./kill-saves.ts"
import { MINI_Q2 } from "./models.ts"

const [dir = "", round = "0"] = process.argv.slice(2)
const options = { context: 1024, threads: 1, disk: { dir, budget: 2 ** 30 } }
const client = await EngineClient.open(spawnEngine(), { path: MINI_Q2 }, options)
console.log("begun")
const ids = killedIds(Number(round))
for (let n = ids.length; ; n = n === ids.length ? 400 : ids.length)
  await client.complete({ ids: ids.slice(0, n), format: "raw", maxTokens: 4, marks: MARKS })
