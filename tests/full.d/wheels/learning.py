# %% scikit-learn==1.9.1 (179)
import sklearn.cluster, sklearn.datasets, sklearn.ensemble, sklearn.linear_model, sklearn.svm
x, y = sklearn.datasets.load_iris(return_X_y=True)
print(sklearn.ensemble.RandomForestClassifier(20, random_state=1, n_jobs=2).fit(x, y).score(x, y))
print(round(sklearn.svm.SVC().fit(x, y).score(x, y), 4), round(sklearn.cluster.KMeans(3, random_state=1, n_init=2).fit(x).inertia_, 3))

# %% xgboost==3.2.0 scikit-learn==1.9.1 (584)
import numpy, xgboost
x = numpy.arange(200.0).reshape(100, 2)
model = xgboost.XGBRegressor(n_estimators=10, n_jobs=2).fit(x, x[:, 0])
print(model.predict(x[:3]).round(3))

# %% lightgbm==4.7.0 scikit-learn==1.9.1 (1080)
import lightgbm, numpy
x = numpy.arange(400.0).reshape(200, 2)
print(lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(x, x[:, 0]).booster_.num_trees())

# %% catboost==1.2.10 (1777)
import catboost
model = catboost.CatBoostRegressor(iterations=5, verbose=False, allow_writing_files=False, thread_count=2)
print(model.fit([[1, 2], [3, 4], [5, 6]], [1, 2, 3]).tree_count_)

# %% onnx==1.23.2 (921)
import onnx, onnx.helper
node = onnx.helper.make_node('Relu', ['x'], ['y'])
value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in 'xy']
model = onnx.helper.make_model(onnx.helper.make_graph([node], 'g', value[:1], value[1:]))
onnx.checker.check_model(model)
print(len(onnx.shape_inference.infer_shapes(model).graph.node))

# %% onnxruntime==1.32.0 onnx==1.23.2 (398)
import numpy, onnx, onnx.helper, onnxruntime
node = onnx.helper.make_node('Relu', ['x'], ['y'])
value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [3]) for name in 'xy']
graph = onnx.helper.make_graph([node], 'g', value[:1], value[1:])
model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid('', 15)])
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
print(session.run(None, {'x': numpy.array([-1, 0, 2], 'float32')})[0])

# %% tensorflow-cpu==2.21.0 (3940)
import tensorflow
print(tensorflow.matmul([[1.0, 2]], [[3.0], [4]]).numpy(), tensorflow.reduce_sum(tensorflow.range(100)).numpy())

# %% sentencepiece==0.2.3 (738)
import io, sentencepiece
model = io.BytesIO()
text = iter(['the cat sat on the mat', 'the dog sat on the log', 'a cat and a dog'] * 20)
sentencepiece.SentencePieceTrainer.train(sentence_iterator=text, model_writer=model, vocab_size=20, minloglevel=2)
print(sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).encode('the cat', out_type=str))

# %% tokenizers==0.23.3 (204)
import tokenizers, tokenizers.models, tokenizers.pre_tokenizers, tokenizers.trainers
tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
tokenizer.train_from_iterator(['the cat sat on the mat'] * 3, tokenizers.trainers.BpeTrainer(vocab_size=30, show_progress=False))
print(tokenizer.encode('the cat').tokens)

# %% tiktoken==0.14.0 (208)
import tiktoken
ranks = {bytes([byte]): byte for byte in range(256)} | {b'th': 256, b'the': 257}
print(tiktoken.Encoding('own', pat_str=r'\w+|\s+', mergeable_ranks=ranks, special_tokens={}).encode('the cat'))

# %% safetensors==0.8.0 numpy==2.4.6 (393)
import numpy, safetensors.numpy
print(safetensors.numpy.load(safetensors.numpy.save({'a': numpy.arange(3)}))['a'])

# %% spacy==3.8.18 (936)
import spacy
print([(token.text, token.is_alpha) for token in spacy.blank('en')("Let's go to N.Y.!")])

# %% thinc==9.1.1 (871)
import numpy, thinc.api
model = thinc.api.chain(thinc.api.Relu(4), thinc.api.Softmax(2))
model.initialize(X=numpy.ones((2, 3), 'f'), Y=numpy.ones((2, 2), 'f'))
print(model.predict(numpy.ones((2, 3), 'f')).sum(axis=1))

# %% blis==1.3.4 (971)
import blis.py, numpy
print(blis.py.gemm(numpy.ones((2, 3)), numpy.ones((3, 2))))

# %% preshed==3.0.15 (939)
import preshed.maps
table = preshed.maps.PreshMap()
table[5] = 7
print(table[5], len(table))

# %% srsly==2.5.6 (953)
import srsly
print(srsly.json_dumps({'a': [1, 2]}), srsly.msgpack_loads(srsly.msgpack_dumps({'a': 1})))

# %% murmurhash==1.0.16 (964)
import murmurhash
print(murmurhash.hash('text'))

# %% gensim==4.4.0 (2038)
import gensim.models
model = gensim.models.Word2Vec([['a', 'b', 'c'], ['b', 'c', 'd']] * 20, vector_size=5, min_count=1, workers=1, seed=1)
print(sorted(model.wv.key_to_index), model.wv['a'].shape)

# %% faiss-cpu==1.15.1 (982)
import faiss, numpy
index = faiss.IndexFlatL2(4)
index.add(numpy.eye(4, dtype='float32'))
print(index.search(numpy.eye(4, dtype='float32')[2:3], 2)[1][0][0])

# %% usearch==2.26.6 (5726)
import numpy, usearch.index
index = usearch.index.Index(ndim=4)
index.add(numpy.arange(4), numpy.eye(4, dtype='float32'))
print(index.search(numpy.eye(4, dtype='float32')[2], 1).keys)

# %% shap==0.51.0 (1156)
import numpy, shap
print(shap.Explainer(lambda x: x.sum(axis=1), numpy.zeros((1, 3)), seed=1)(numpy.ones((1, 3)), silent=True).values.round(4))

# %% umap-learn==0.5.12 (1829)
import numpy, umap
print(umap.UMAP(n_neighbors=5, random_state=1, n_jobs=1, n_epochs=5).fit_transform(numpy.random.default_rng(1).random((30, 4))).shape)

# %% pynndescent==0.7.0 (1732)
import numpy, pynndescent
print(pynndescent.NNDescent(numpy.random.default_rng(1).random((50, 4)), n_neighbors=5, random_state=1).neighbor_graph[0].shape)

# %% hdbscan==0.8.44 (2865)
import hdbscan, numpy
points = numpy.concatenate([numpy.random.default_rng(1).normal(center, 0.1, (20, 2)) for center in (0, 5)])
print(sorted(set(hdbscan.HDBSCAN().fit_predict(points).tolist())))

# %% hmmlearn==0.3.3 (5006)
import hmmlearn.hmm, numpy
print(hmmlearn.hmm.GaussianHMM(2, random_state=1, n_iter=5).fit(numpy.r_[numpy.zeros(20), numpy.ones(20)].reshape(-1, 1) + numpy.sin(numpy.arange(40)).reshape(-1, 1)).startprob_.shape)

# %% ctranslate2==4.8.5 (1471)
import ctranslate2, numpy
print(numpy.array(ctranslate2.StorageView.from_array(numpy.arange(4, dtype='float32'))))

# %% pycocotools==2.0.11 (2216)
import numpy, pycocotools.mask
print(pycocotools.mask.area(pycocotools.mask.encode(numpy.asfortranarray(numpy.eye(8, dtype='uint8')))))

# %% pot==0.9.7.post1 (6576)
import numpy, ot
print(ot.emd([0.5, 0.5], [0.5, 0.5], numpy.array([[0.0, 1], [1, 0]])))

# %% torch==2.15.0 numpy==2.4.6 (330)
import torch
x = torch.arange(6.0).reshape(2, 3).requires_grad_()
(x @ x.T).sum().backward()
print(x.grad, torch.nn.functional.conv1d(torch.ones(1, 1, 5), torch.ones(1, 1, 3)))
