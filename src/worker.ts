/** Entry of the engine's Worker. Messages are taken from the first moment on; there is no top-level
 *  await before that. */
import { EngineHost } from "./engine/host.ts"

declare const self: Worker

const host = new EngineHost(self as unknown as ConstructorParameters<typeof EngineHost>[0])
self.onmessage = (event: MessageEvent) => host.receive(event.data)
