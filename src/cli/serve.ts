/** `ds4 serve`: the model over HTTP, for the tools people already have. */
import { join } from "node:path"
import { EngineClient } from "../engine/client.ts"
import { CliError } from "../errors.ts"
import { startServer } from "../server/app.ts"
import type { Service } from "../server/generate.ts"
import { isLoopback } from "../server/guard.ts"
import { Metrics } from "../server/metrics.ts"
import { CallReplay } from "../server/replay.ts"
import { CALLS_FILE } from "../session/disk/folder.ts"
import type { OpenOptions } from "../session/open.ts"
import { spawnEngine } from "../spawn.ts"
import { readModelText } from "./engine.ts"
import type { Io } from "./io.ts"
import { diskOptions, engineOptions, findModel } from "./models.ts"
import type { Args } from "./options.ts"

const DEFAULT = { host: "127.0.0.1", port: 8000, parallel: 4 }
/** Requests that may wait, beside those that run. */
const QUEUE = 64

export async function run(args: Args, io: Io): Promise<number> {
  const host = args.text("host") ?? DEFAULT.host
  const port = args.number("port") ?? DEFAULT.port
  const apiKey = args.text("apiKey")
  if (!isLoopback(host) && apiKey === undefined)
    throw new CliError(
      `--host ${host} can be reached by other machines: give an --api-key (or DS4_API_KEY) too`,
    )
  const { path } = findModel(args, io)
  const log = (line: string) => io.err(`ds4: ${line}\n`)
  const ready = openService(path, { ...diskOptions(args, io), ...engineOptions(args) }, args, log)
  const strictFields = args.flag("strictFields")
  const options = { host, port, apiKey, strictFields, log }
  const server = listen(options, ready)
  const stopped = new Promise<void>((resolve) => {
    process.once("SIGINT", () => resolve())
    process.once("SIGTERM", () => resolve())
  })
  let service: Service | void = undefined
  try {
    service = await Promise.race([ready, stopped]) // nothing if stopped while loading
    if (service) io.err(`${service.model} at ${server.url}v1 (Ctrl-C ends)\n`)
    await stopped
    return 0
  } finally {
    await server.stop()
    await service?.client.shutdown()
  }
}

async function openService(
  path: string,
  options: OpenOptions,
  args: Args,
  log: (line: string) => void,
): Promise<Service> {
  const nSeqs = args.number("parallel") ?? DEFAULT.parallel
  const opening = EngineClient.open(spawnEngine(), { path }, { nSeqs, ...options }, log)
  opening.catch(() => {}) // awaited below
  const { tokenizer } = await readModelText(path)
  const client = await opening
  const model = client.info.name.toLowerCase().replace(/[^a-z0-9.]+/g, "-")
  return {
    model,
    tokenizer,
    client,
    metrics: new Metrics(),
    kept: new Map(),
    replay: new CallReplay(tokenizer, options.disk && join(options.disk.dir, CALLS_FILE), log),
    log,
    maxRequests: nSeqs + QUEUE,
  }
}

/** @throws CliError that tells a taken port from a host that is not ours */
function listen(...[options, ready]: Parameters<typeof startServer>) {
  try {
    return startServer(options, ready)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === "EADDRINUSE")
      throw new CliError(
        `Cannot listen on ${options.host}:${options.port}: the port is taken, or the host is not this machine's`,
      )
    throw new CliError(`Cannot listen on ${options.host}:${options.port}: ${message}`)
  }
}
