// Makes one file of the page: `node examples/browser/bundle.mjs build/browser/index.html`, once `tsc` has made `dist`.
import { build } from "esbuild";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

const target = process.argv[2];
const here = new URL(".", import.meta.url);
const { outputFiles } = await build({
    entryPoints: [new URL("page.ts", here).pathname],
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    legalComments: "none",
    logLevel: "warning",
    write: false,
});
const tag = '<script type="module" src="page.ts"></script>';
const page = await readFile(new URL("index.html", here), "utf8");
if (!page.includes(tag)) throw new Error(`index.html has no ${tag}`);
// A function: the code has dollars in it.
const whole = page.replace(tag, () => `<script type="module">\n${outputFiles[0].text}</script>`);
await mkdir(dirname(target), { recursive: true });
await writeFile(target, whole);
