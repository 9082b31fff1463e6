/** Every case of every op. */
import { attentionCases } from "./attention.ts"
import { candidateCases } from "./candidates.ts"
import type { Case } from "./case.ts"
import { compressorCases } from "./compressor.ts"
import { elementwiseCases } from "./elementwise.ts"
import { expertCases } from "./experts.ts"
import { hyperConnectionCases } from "./hyper-connection.ts"
import { indexerCases } from "./indexer.ts"
import { kvRowCases } from "./kv-rows.ts"
import { matmulCases } from "./matmul.ts"
import { ropeCases } from "./rope.ts"
import { routerCases } from "./router.ts"

/** All cases, grouped by op. */
export function conformanceCases(): Case[] {
  return [
    ...matmulCases(),
    ...elementwiseCases(),
    ...ropeCases(),
    ...hyperConnectionCases(),
    ...kvRowCases(),
    ...compressorCases(),
    ...indexerCases(),
    ...attentionCases(),
    ...routerCases(),
    ...expertCases(),
    ...candidateCases(),
  ]
}
