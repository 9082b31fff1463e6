/** The fixed texts of DeepSeek's chat protocol, word for word: the model was trained on them, so not
 *  even a blank may change. Spec §16.1 to §16.3. */

export const BOS = "<｜begin▁of▁sentence｜>"
export const EOS = "<｜end▁of▁sentence｜>"
export const USER = "<｜User｜>"
export const ASSISTANT = "<｜Assistant｜>"
export const REMINDER = "<｜latest_reminder｜>"
export const THINK = "<think>"
export const END_THINK = "</think>"
export const DSML = "｜DSML｜"

/** Control tokens of the quick tasks. */
export const TASKS: ReadonlyMap<string, string> = new Map(
  ["action", "query", "authority", "domain", "title", "read_url"].map((name) => [
    name,
    `<｜${name}｜>`,
  ]),
)

const ABSOLUTE_MAXIMUM = `Reasoning Effort: Absolute maximum with no shortcuts permitted.
You MUST be very thorough in your thinking and comprehensively decompose the problem to resolve the root cause, rigorously stress-testing your logic against all potential paths, edge cases, and adversarial scenarios.
Explicitly write out your entire deliberation process, documenting every intermediate step, considered alternative, and rejected hypothesis to ensure absolutely no assumption is left unchecked.

`

const BEYOND_MAXIMUM = `Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.
You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: exhaustively decompose the problem into its most fundamental components, trace every causal chain to its root, and resolve the underlying cause rather than any surface symptom.
Do not stop reasoning until you have independently verified the solution from multiple angles and are certain that no assumption remains unchecked and no error remains undiscovered.

`

/** The versions of the protocol: that of the first release and that of July 31. */
export type Encoder = "v4" | "v4-0731"

/** What the known efforts of an encoder put before the first message in thinking mode. */
export const EFFORTS: Record<Encoder, ReadonlyMap<string, string>> = {
  v4: new Map([
    ["high", ""],
    ["max", ABSOLUTE_MAXIMUM],
  ]),
  "v4-0731": new Map([
    ["low", ""],
    ["high", ABSOLUTE_MAXIMUM],
    ["max", BEYOND_MAXIMUM],
  ]),
}

/** Before the schemas, which stand one a line. */
export const TOOLS_BEFORE = `## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a "<｜DSML｜tool_calls>" block like the following:

<｜DSML｜tool_calls>
<｜DSML｜invoke name="$TOOL_NAME">
<｜DSML｜parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</｜DSML｜parameter>
...
</｜DSML｜invoke>
<｜DSML｜invoke name="$TOOL_NAME2">
...
</｜DSML｜invoke>
</｜DSML｜tool_calls>

String parameters should be specified as is and set \`string="true"\`. For all other types (numbers, booleans, arrays, objects), pass the value in JSON format and set \`string="false"\`.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside <think>...</think> BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

`

export const TOOLS_AFTER = `

You MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.
`

/** Before the schema of a response format. */
export const FORMAT_BEFORE = `## Response Format:

You MUST strictly adhere to the following schema to reply:
`
