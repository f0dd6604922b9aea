// openai-node, called as its users do.

import { createWriteStream, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

// The environment of the client is the directory this runs in.
const { OpenAI } = createRequire(`${process.cwd()}/`)("openai");

const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));

async function main(job) {
  const client = new OpenAI({
    baseURL: job.base_url,
    apiKey: job.key,
    fetch: async (...request) => {
      const response = await fetch(...request);
      say(`status ${response.status}`, { retry_after: response.headers.get("retry-after") });
      return response;
    },
  });
  if (job.case === "whole") {
    for (let left = job.times ?? 1; left > 0; left -= 1) {
      const reply = await client.audio.speech.create(job.speech);
      writeFileSync(job.save, Buffer.from(await reply.arrayBuffer()));
    }
  } else {
    const reply = await client.audio.speech.create(job.speech);
    const file = createWriteStream(job.save);
    for await (const chunk of reply.body) {
      file.write(chunk);
      say("chunk");
    }
    await new Promise((closed) => file.end(closed));
  }
  say("done");
}

main(JSON.parse(process.argv[2])).catch((error) =>
  say("done", { error: error.constructor.name, code: error.code, message: String(error) }),
);
