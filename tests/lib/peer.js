// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The server and two clients of peers.py on Node: peer.js serve PORT VERSION ROOT, peer.js fetch|agent REQUESTS.json
"use strict";

const fs = require("fs");
const http = require("http");

const versions = { 1111100000: "flowers-v1", 1010101010: "flowers-v2" };

function serve(port, version, root) {
	const server = http.createServer((request, response) => {
		response.setHeader("version", version);
		if (request.method === "POST" && request.url === `/${version}/echo`) {
			request.pipe(response); // chunked, and begins before the request has ended
			return;
		}
		fs.readFile(root + request.url, (error, data) => {
			response.statusCode = error ? 404 : 200;
			response.end(data); // Content-Length
		});
	});

	server.listen(Number(port), "::");
}

async function byFetch(request) {
	const headers = { ...request.headers };

	delete headers.Connection; // the standard forbids it
	const response = await fetch(request.url, {
		method: request.upload ? "POST" : "GET",
		headers,
		body: request.upload ? fs.readFileSync(request.file) : undefined,
	});

	return { status: response.status, version: response.headers.get("version"), body: Buffer.from(await response.arrayBuffer()) };
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function byAgent(request) {
	return new Promise((resolve, reject) => {
		const body = request.upload ? fs.readFileSync(request.file) : undefined;
		const headers = { ...request.headers, ...(body && { "Content-Length": body.length }) };
		const sent = http.request(request.url, { agent, method: request.upload ? "POST" : "GET", headers }, (response) => {
			const parts = [];

			response.on("data", (part) => parts.push(part));
			response.on("error", reject);
			response.on("end", () => resolve({ status: response.statusCode, version: response.headers.version, body: Buffer.concat(parts) }));
		});

		sent.on("error", reject);
		sent.end(body);
	});
}

async function ask(how, file) {
	const problems = [];
	let answered = 0;

	for (const request of JSON.parse(fs.readFileSync(file))) {
		try {
			const { status, version, body } = await how(request);

			answered++;
			if (status !== 200 || version !== versions[request.user] || !body.equals(fs.readFileSync(request.file)))
				problems.push(`${request.path} of ${request.user}: ${status} ${version}, ${body.length} bytes`);
		} catch (error) {
			problems.push(`${request.path} of ${request.user}: ${error} ${error.cause}`);
		}
	}
	agent.destroy();
	console.log(JSON.stringify({ answered, problems }));
}

const [mode, ...rest] = process.argv.slice(2);

({ serve, fetch: (file) => ask(byFetch, file), agent: (file) => ask(byAgent, file) })[mode](...rest);
