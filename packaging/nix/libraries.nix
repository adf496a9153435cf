# The libraries that programs find: what is most asked for, and nothing that takes long to fetch.
libraries: with libraries; [
  beautifulsoup4
  lxml
  matplotlib
  networkx
  numpy
  openpyxl
  pandas
  pillow
  pyyaml
  requests
  scikit-learn
  scipy
  seaborn
  sympy
]
