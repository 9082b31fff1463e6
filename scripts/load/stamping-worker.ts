/** The engine's Worker, with a clock: says when each token of a request was chosen. Requests are told
 *  apart by their `maxTokens`, which the scripts make different. */
import { EngineHost } from "../../src/engine/host.ts"
import { Engine } from "../../src/generate/engine.ts"
import { now, STAMPS, type Stamps } from "./protocol.ts"

declare const self: Worker

const channel = new BroadcastChannel(STAMPS)
const { start } = Engine.prototype

Engine.prototype.start = function (this: Engine, request, onEvent) {
  const stamps: Stamps = { tag: request.maxTokens, chosen: [], said: [] }
  return start.call(this, request, (event) => {
    if (event.type === "token") stamps.chosen.push(now())
    if (event.type === "text") stamps.said.push(stamps.chosen.at(-1)!)
    if (event.type === "end") channel.postMessage(stamps)
    onEvent(event)
  })
}

const host = new EngineHost(self as unknown as ConstructorParameters<typeof EngineHost>[0])
self.onmessage = (event: MessageEvent) => host.receive(event.data)
