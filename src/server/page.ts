/** The page at `/`: one document with its style and script inside, allowed to talk to this server only. */
import { join } from "node:path"

const WEB = join(import.meta.dir, "../web")

let built: Promise<Response> | undefined

/** Built at the first request. */
export async function page(): Promise<Response> {
  built ??= build()
  return (await built).clone()
}

async function build(): Promise<Response> {
  const bundle = await Bun.build({
    entrypoints: [join(WEB, "app.ts")],
    target: "browser",
    minify: true,
  })
  const [script, style, document] = await Promise.all([
    bundle.outputs[0]!.text(),
    Bun.file(join(WEB, "style.css")).text(),
    Bun.file(join(WEB, "index.html")).text(),
  ])
  const code = script.trim().replaceAll("</script", "<\\/script")
  const html = document
    .replace("<!-- style -->", () => `<style>${style}</style>`)
    .replace("<!-- script -->", () => `<script type="module">${code}</script>`)
  return new Response(html, {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": [
        "default-src 'none'",
        "connect-src 'self'",
        "img-src data:",
        `script-src '${hashOf(code)}'`,
        `style-src '${hashOf(style)}'`,
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
      ].join("; "),
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
    },
  })
}

const hashOf = (text: string) =>
  `sha256-${new Bun.CryptoHasher("sha256").update(text).digest("base64")}`
